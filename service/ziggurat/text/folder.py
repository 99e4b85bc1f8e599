"""A Hugging Face folder's tokenizer: tokenizer.json, and what the files beside it add."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ziggurat.errors import InvalidModel, Unsupported
from ziggurat.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers

MAX_FILE = 256 << 20  # bytes; the largest published tokenizer.json is a tenth of it
ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def read_folder(path: Path) -> Tokenizer:
    """See Tokenizer.from_folder."""
    backend = _backend(path)
    config = _json(path / "tokenizer_config.json")
    roles = _json(path / "special_tokens_map.json") | config
    special = {role: text for role in ROLES if (text := _text(roles.get(role))) is not None}
    _add_tokens(backend, config, special)
    _add_post_processor(backend, config, special)
    return Tokenizer(
        backend, special_tokens=special, stop_ids=_stop_ids(path), chat_templates=_chat_templates(path, config)
    )


def _backend(path: Path) -> tokenizers.Tokenizer:
    import tokenizers

    file = path / "tokenizer.json"
    if not file.is_file():
        others = [name for name in ("tokenizer.model", "vocab.json", "vocab.txt") if (path / name).is_file()]
        if others:
            raise Unsupported(f"'{path.name}' has {others[0]} but no tokenizer.json, which is what is read here")
        raise InvalidModel(f"'{path.name}' has no tokenizer.json")
    data = _read(file)
    try:
        return tokenizers.Tokenizer.from_str(data)
    except BaseException as error:  # the library raises bare Exception, and panics on some nonsense
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise InvalidModel(f"tokenizer.json cannot be understood: {error}") from error


def _read(file: Path) -> str:
    size = file.stat().st_size
    if size > MAX_FILE:
        raise InvalidModel(f"{file.name} has {size} bytes; {MAX_FILE} is the limit")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidModel(f"{file.name} is not UTF-8: {error}") from error


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        value = json.loads(_read(file))
    except (ValueError, RecursionError) as error:
        raise InvalidModel(f"{file.name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidModel(f"{file.name} is not a JSON object")
    return value


def _text(value: Any) -> str | None:
    """A special token is written as its text or as an object with the text in it."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def _add_tokens(backend: tokenizers.Tokenizer, config: dict[str, Any], special: dict[str, str]) -> None:
    """Adds the tokens that only tokenizer_config.json knows; an id that comes out otherwise is a contradiction."""
    import tokenizers

    decoder = config.get("added_tokens_decoder")
    listed = decoder.items() if isinstance(decoder, dict) else ()
    known = backend.get_added_tokens_decoder()
    for key, value in sorted(listed, key=lambda item: int(item[0]) if str(item[0]).isdecimal() else -1):
        text = _text(value)
        if text is None or not str(key).isdecimal():
            raise InvalidModel(f"tokenizer_config.json: added token {key!r} has no text")
        if int(key) in known and known[int(key)].content == text:
            continue
        flags = {name: bool(value.get(name, False)) for name in ("single_word", "lstrip", "rstrip", "special")}
        token = tokenizers.AddedToken(text, normalized=bool(value.get("normalized", not flags["special"])), **flags)
        (backend.add_special_tokens if flags["special"] else backend.add_tokens)([token])
        if backend.token_to_id(text) != int(key):
            raise InvalidModel(
                f"tokenizer_config.json gives token {text!r} the id {key}, tokenizer.json {backend.token_to_id(text)}"
            )
    names = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
    for text in dict.fromkeys(special.values()):
        if text not in names and backend.token_to_id(text) is not None:
            backend.add_special_tokens([tokenizers.AddedToken(text, special=True, normalized=False)])


def _add_post_processor(backend: tokenizers.Tokenizer, config: dict[str, Any], special: dict[str, str]) -> None:
    """tokenizer.json decides what stands around a text; only where it is silent do the flags of the config count."""
    from tokenizers import processors

    if backend.post_processor is not None:
        return
    before, after = [], []
    if config.get("add_bos_token") and "bos_token" in special:
        before.append(special["bos_token"])
    if config.get("add_eos_token") and "eos_token" in special:
        after.append(special["eos_token"])
    around = [(text, token) for text in before + after if (token := backend.token_to_id(text)) is not None]
    if around:
        texts = {text for text, _ in around}
        single = [*[t for t in before if t in texts], "$A", *[t for t in after if t in texts]]
        backend.post_processor = processors.TemplateProcessing(single=" ".join(single), special_tokens=around)


def _stop_ids(path: Path) -> list[int]:
    """End-of-sequence ids of generation_config.json, else of config.json: a number or a list of them."""
    for name in ("generation_config.json", "config.json"):
        value = _json(path / name).get("eos_token_id")
        found = value if isinstance(value, list) else [value]
        ids = [token for token in found if isinstance(token, int) and not isinstance(token, bool)]
        if ids:
            return ids
    return []


def _chat_templates(path: Path, config: dict[str, Any]) -> dict[str, str]:
    """Newer files win: chat_template.jinja, then chat_template.json, then the tokenizer's configuration."""
    value: Any = config.get("chat_template")
    if (path / "chat_template.json").is_file():
        value = _json(path / "chat_template.json").get("chat_template", value)
    if (path / "chat_template.jinja").is_file():
        value = _read(path / "chat_template.jinja")
    found: dict[str, str] = {}
    if isinstance(value, str):
        found["default"] = value
    elif isinstance(value, list):
        for entry in value:
            if not isinstance(entry, dict) or not all(isinstance(entry.get(k), str) for k in ("name", "template")):
                raise InvalidModel("tokenizer_config.json: a chat template needs a name and a template")
            found[entry["name"]] = entry["template"]
    elif value is not None:
        raise InvalidModel("the chat template is neither text nor a list of named texts")
    folder = path / "additional_chat_templates"
    if folder.is_dir():
        found |= {file.stem: _read(file) for file in sorted(folder.glob("*.jinja"))[:32]}
    return found
