"""Who may change the server: without keys, only whoever sits on the same machine."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from fastapi import Request

# Headers of a request that somebody passed on: who asked is then not who is connected.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def check_admin(request: Request, admin: str) -> None:
    """Raises a 403 where `admin` (setting server.admin) does not let this client change anything."""
    if admin == "open":
        return
    if admin == "off":
        raise HTTPException(403, "changing the server over HTTP is switched off (server.admin)")
    if not _is_local(request):
        raise HTTPException(403, "changing the server is for its own machine only; server.admin=open lifts that")


def _is_local(request: Request) -> bool:
    """Connected over loopback, to a loopback name, not passed on by a proxy, and not by a page of another site."""
    headers = request.headers
    if request.client is None or not _is_loopback(request.client.host):
        return False
    if any(name in headers for name in _FORWARDED):
        return False
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    origin = headers.get("origin")
    # A page from elsewhere may make a browser on this machine ask; by a name of its own (DNS rebinding) even as if
    # it were from here.
    return _is_loopback(host) and (origin is None or urlsplit(origin).netloc == headers.get("host"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
