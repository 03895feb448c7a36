"""`@locked(...)`: a function that runs under a lock."""

import functools
import inspect
from typing import Any, Callable, Optional, TypeVar, Union

F = TypeVar("F", bound=Callable[..., Any])
Key = Union[str, Callable[..., str]]


def decorator(client: Callable[[], Any], key: Key, lock_as: Optional[str], options: Any) -> Callable[[F], F]:
    """`key` may name arguments, as in "volume/{id}", or be a function of them. `lock_as`: the parameter for the lock."""

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        if lock_as is not None:
            visible = [value for name, value in signature.parameters.items() if name != lock_as]
            signature = signature.replace(parameters=visible)

        def key_of(arguments: Any, keywords: Any) -> str:
            if callable(key):
                return key(*arguments, **keywords)
            bound = signature.bind(*arguments, **keywords)
            bound.apply_defaults()
            return key.format(**bound.arguments)

        @functools.wraps(function)
        async def in_coroutine(*arguments: Any, **keywords: Any) -> Any:
            async with client().alock(key_of(arguments, keywords), **options) as lock:
                given = {lock_as: lock} if lock_as else {}
                return await function(*arguments, **keywords, **given)

        @functools.wraps(function)
        def in_thread(*arguments: Any, **keywords: Any) -> Any:
            with client().lock(key_of(arguments, keywords), **options) as lock:
                given = {lock_as: lock} if lock_as else {}
                return function(*arguments, **keywords, **given)

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("@locked: a generator runs after its call has returned; use `with lock(...)` inside it")
        wrapped: Any = in_coroutine if inspect.iscoroutinefunction(function) else in_thread
        return wrapped  # type: ignore[no-any-return]

    return decorate
