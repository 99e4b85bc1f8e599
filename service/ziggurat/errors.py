"""What can go wrong, as one tree; `code` is the stable name that protocols map to a status.

    ZigguratError                          code
    ├── InvalidArgument (ValueError)       invalid_argument    the caller's request is wrong: name, dtype, shape, option
    │   └── PromptTooLong                                      leaves no room in the model's context
    ├── InvalidModel (ValueError)          invalid_model       the model's file or graph is wrong
    ├── Unsupported                        unsupported         valid, but this build cannot run it
    ├── NotFound                           not_found           a name that does not exist
    ├── OutOfMemory                        out_of_memory       does not fit the budget; the message has the numbers
    ├── Cancelled                          cancelled           the caller cancelled, or left
    ├── DeadlineExceeded                   deadline_exceeded   the caller's deadline passed
    ├── Unavailable                        unavailable         exists, but cannot answer now: loading, failed, closing
    ├── TooLarge                           too_large           over a size limit, which the message names
    ├── Overloaded                         overloaded          every permit and every queue place is taken
    └── Internal                           internal            our own bug

The fields say where it happened, as far as that is known; `str(error)` joins them: "Conv node 'c1', tensor 'x': …".
"""

from __future__ import annotations

from typing import ClassVar


class ZigguratError(Exception):
    """The root. `message` is the bare text; `node`, `op` and `tensor` name the place."""

    code: ClassVar[str] = "internal"

    def __init__(
        self, message: str, *, node: str | None = None, op: str | None = None, tensor: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.node = node or None
        self.op = op or None
        self.tensor = tensor or None

    def __str__(self) -> str:
        step = " ".join(part for part in (self.op, self.node and f"node '{self.node}'") if part)
        place = ", ".join(part for part in (step, self.tensor and f"tensor '{self.tensor}'") if part)
        return f"{place}: {self.message}" if place else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # BaseException rebuilds from args alone, after which __dict__ restores the keyword fields.
        return (type(self), (self.message,), self.__dict__)


class InvalidArgument(ZigguratError, ValueError):
    code = "invalid_argument"


class PromptTooLong(InvalidArgument):
    """`n_prompt_tokens` is what the prompt has, `n_ctx` what the model can hold."""

    def __init__(self, message: str, n_prompt_tokens: int, n_ctx: int) -> None:
        super().__init__(message)
        self.n_prompt_tokens = n_prompt_tokens
        self.n_ctx = n_ctx

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message, self.n_prompt_tokens, self.n_ctx), self.__dict__)


class InvalidModel(ZigguratError, ValueError):
    code = "invalid_model"


class Unsupported(ZigguratError):
    code = "unsupported"


class NotFound(ZigguratError):
    code = "not_found"


class OutOfMemory(ZigguratError):
    code = "out_of_memory"


class Cancelled(ZigguratError):
    code = "cancelled"


class DeadlineExceeded(ZigguratError):
    code = "deadline_exceeded"


class Unavailable(ZigguratError):
    code = "unavailable"


class TooLarge(ZigguratError):
    code = "too_large"


class Overloaded(ZigguratError):
    """`retry_after` is in seconds: when asking again may succeed."""

    code = "overloaded"

    def __init__(
        self,
        message: str,
        *,
        node: str | None = None,
        op: str | None = None,
        tensor: str | None = None,
        retry_after: float = 1.0,
    ) -> None:
        super().__init__(message, node=node, op=op, tensor=tensor)
        self.retry_after = retry_after


class Internal(ZigguratError):
    code = "internal"


BY_CODE: dict[str, type[ZigguratError]] = {
    error.code: error
    for error in (
        InvalidArgument,
        InvalidModel,
        Unsupported,
        NotFound,
        OutOfMemory,
        Cancelled,
        DeadlineExceeded,
        Unavailable,
        TooLarge,
        Overloaded,
        Internal,
    )
}
