"""Chat templates: a conversation becomes the prompt that a model was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ziggurat.errors import InvalidArgument, InvalidModel, TooLarge, ZigguratError
from ziggurat.text.conversation import TAG, extra, joined, plain, shape_arguments, tag, weight

if TYPE_CHECKING:
    from ziggurat.text.tokenizer import Tokenizer

MAX_SOURCE = 1 << 18  # characters; published templates have at most a few ten thousand
BASE_WORK = 4 << 20  # characters that a template may make, whatever it is given
WORK_PER_CHARACTER = 16  # and for each character that it is given
_FILENAME = "<chat template>"

Message = Mapping[str, Any]


class ChatTemplate:
    """A compiled template. Immutable; any number of threads may render at once.

    Templates come with model files, so they are not trusted: they see plain values only and have a budget of work and
    time (sandbox.py). A template that is no Jinja, reaches out or runs away is an InvalidModel; a conversation that it
    refuses (`raise_exception`) or trips over is an InvalidArgument.
    """

    def __init__(
        self,
        source: str,
        bos: str | None = None,
        eos: str | None = None,
        *,
        special_tokens: Mapping[str, str] | None = None,
        seconds: float = 2.0,
        now: Callable[[str], str] | None = None,
    ) -> None:
        """
        Args:
            source: Jinja text as published with the model.
            bos: The beginning-of-sequence token, which many templates write themselves.
            eos: The end-of-sequence token.
            special_tokens: More of them by role ("pad_token", …).
            seconds: What one rendering may take.
            now: Formats the current time for `strftime_now`; the system's local time if not given.

        Raises:
            InvalidModel: Not a template.
        """
        from ziggurat.text.sandbox import SafeEnvironment

        if len(source) > MAX_SOURCE:
            raise InvalidModel(f"the chat template has {len(source)} characters; {MAX_SOURCE} is the limit")
        self.source = source
        self._seconds = seconds
        self._tokens = dict(special_tokens or {})
        self._tokens |= {"bos_token": bos or "", "eos_token": eos or ""}
        environment = SafeEnvironment(now or (lambda form: datetime.now().strftime(form)))  # local time, as published
        try:
            code = environment.compile(source, filename=_FILENAME)
            self._template = environment.template_class.from_code(environment, code, environment.globals)
        except Exception as error:  # syntax errors, but also what Python says to a million brackets
            raise InvalidModel(f"the chat template cannot be compiled: {_short(error)}") from error

    @classmethod
    def of(cls, tokenizer: Tokenizer, name: str = "default") -> ChatTemplate | None:
        """The tokenizer's own template, None where it has none of that name."""
        source = tokenizer.chat_templates.get(name)
        if source is None:
            return None
        roles = tokenizer.special_tokens
        return cls(source, roles.get("bos_token"), roles.get("eos_token"), special_tokens=roles)

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        *,
        continue_final_message: bool = False,
        **kwargs: Any,
    ) -> str:
        """The prompt as text. Encode it without adding special tokens and with parsing them, or use `prompt`.

        Args:
            messages: As in the OpenAI API: role, content (text or parts), tool_calls, …
            tools: Functions that may be called, as in the OpenAI API.
            add_generation_prompt: End with what makes the model answer.
            continue_final_message: End within the last message instead, for the model to go on with it.
            kwargs: More variables for the template, plain JSON values.

        Raises:
            InvalidArgument: Messages that are none, or that the template refuses.
            InvalidModel: The template reaches out, or runs over its limits.
            TooLarge: It runs over its limits because the conversation is so large.
        """
        chat = self._chat(messages)
        if tools is not None and not isinstance(tools, list | tuple):
            raise InvalidArgument("tools is no list")
        if continue_final_message:
            add_generation_prompt = False
            tag(chat)
        variables = {"messages": chat, "tools": plain(tools) if tools else None, "documents": None}
        text = self._run(variables | extra(kwargs) | {"add_generation_prompt": add_generation_prompt})
        if not continue_final_message:
            return text
        before, found, _ = text.rpartition(TAG)
        if not found:
            raise InvalidArgument("the chat template does not write the last message, so it cannot be continued")
        return before

    def prompt(self, tokenizer: Tokenizer, messages: Sequence[Message], tools: Any = None, **kwargs: Any) -> list[int]:
        """The prompt as token ids, in which only the template wrote special tokens: those in messages are text.

        Args and errors as for `render`.
        """
        guard = tokenizer.guard
        marked = [guard.mark(message) for message in messages]
        return guard.encode(self.render(marked, guard.mark(tools), **{k: guard.mark(v) for k, v in kwargs.items()}))

    @cached_property
    def accepts_parts(self) -> bool:
        """Whether the template reads content as a list of parts; otherwise parts are joined to text before."""
        text = self._probe([{"role": "user", "content": [{"type": "text", "text": "PROBE"}]}])
        return text is not None and "PROBE" in text and "'type'" not in text and '"type"' not in text

    @cached_property
    def object_arguments(self) -> bool:
        """Whether the template reads a call's arguments as an object; otherwise it is given their text."""

        def accepts(arguments: Any) -> bool:
            call = {"id": "123456789", "type": "function", "function": {"name": "f", "arguments": arguments}}
            user = {"role": "user", "content": "x"}
            return self._probe([user, {"role": "assistant", "content": "", "tool_calls": [call]}]) is not None

        return accepts({"a": 1}) or not accepts('{"a": 1}')

    def _probe(self, messages: list[dict[str, Any]]) -> str | None:
        try:
            return self._run({"messages": messages, "tools": None, "documents": None, "add_generation_prompt": True})
        except ZigguratError:
            return None

    def _chat(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        if not isinstance(messages, list | tuple):
            raise InvalidArgument("messages is no list")
        developer = "developer" in self.source
        return [self._message(i, message, developer) for i, message in enumerate(messages)]

    def _message(self, index: int, message: Message, developer: bool) -> dict[str, Any]:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InvalidArgument(f"messages[{index}] has no role")
        made: dict[str, Any] = plain(message)
        if made["role"] == "developer" and not developer:
            made["role"] = "system"
        content = made.get("content")
        if isinstance(content, list) and not self.accepts_parts:
            made["content"] = joined(index, content)
        for call in made.get("tool_calls") or ():
            shape_arguments(call, self.object_arguments)
        return made

    def _run(self, variables: dict[str, Any]) -> str:
        from ziggurat.text.budget import Budget, BudgetError
        from ziggurat.text.sandbox import BUDGET

        given = weight(variables)
        work = BASE_WORK + WORK_PER_CHARACTER * given
        budget = Budget(work, self._seconds + given * 1e-6)
        context = self._template.new_context({**self._tokens, **variables, BUDGET: budget})
        out = []
        try:
            for piece in self._template.root_render_func(context):
                budget.charge(len(piece))
                out.append(piece)
        except BudgetError as error:
            kind = TooLarge if given > BASE_WORK else InvalidModel
            raise kind(f"the chat template was stopped{self._line(error)}: {error}") from None
        except Exception as error:
            raise self._refusal(error) from error
        return "".join(out)

    def _refusal(self, error: Exception) -> ZigguratError:
        from jinja2.exceptions import SecurityError, TemplateError, UndefinedError

        line = self._line(error)
        if isinstance(error, SecurityError | MemoryError | RecursionError):
            return InvalidModel(f"the chat template does what it may not{line}: {_short(error)}")
        if type(error) is TemplateError:
            return InvalidArgument(f"the chat template refuses the conversation: {_short(error)}")
        cause = "" if isinstance(error, UndefinedError) else f"{type(error).__name__}: "
        return InvalidArgument(f"the chat template cannot render this conversation{line}: {cause}{_short(error)}")

    def _line(self, error: BaseException) -> str:
        line, at = None, error.__traceback__
        while at is not None:
            if at.tb_frame.f_code.co_filename == _FILENAME:
                line = self._template.get_corresponding_lineno(at.tb_lineno)
            at = at.tb_next
        return "" if line is None else f" at line {line}"


def _short(error: BaseException) -> str:
    return str(error)[:500] or type(error).__name__
