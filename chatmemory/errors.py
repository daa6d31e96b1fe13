"""The errors of chatmemory, in one tree.

ChatMemoryError
├── ConfigurationError            a setting or an address is invalid
│   └── MissingExtraError         an optional part is not installed (also ImportError)
├── InvalidInputError             rejected; nothing was written, except with ContextTooSmallError (also ValueError)
│   ├── ContentTooLargeError
│   ├── ContextTooSmallError      the required parts of a prompt exceed max_tokens
│   └── KindError                 the kind is unknown, or its declaration is invalid
├── SessionError
│   ├── SessionNotFoundError      missing, deleted or someone else's; indistinguishable (also LookupError)
│   ├── SessionExistsError
│   ├── SessionEndedError
│   ├── SessionLimitError
│   └── MoveError                 the kind does not allow this change of run status
├── MessageConflictError          the message id is already stored with other content
├── MemoryNotFoundError           there is no such long-term memory (also LookupError)
├── LlmError                      a language model or an embedder failed, or its answer is unusable
└── StorageError
    ├── StorageUnavailableError   Postgres cannot be reached, does not answer in time, or takes no writes
    ├── EmbeddedServerError       the embedded Postgres could not be started
    ├── SchemaVersionError        the schema does not match this version of the library
    └── SchemaPermissionError     the database user may not create the missing schema objects

No error message contains a password, an API key, or the content of a message.
"""

from chatmemory._public import public

DISTRIBUTION = "chatmemory-postgres"  # its name on PyPI, where "chatmemory" is another project's


@public
class ChatMemoryError(Exception):
    """Something in chatmemory went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").partition("\n")[0])


@public
class ConfigurationError(ChatMemoryError):
    """A setting or an address is invalid."""


@public
class MissingExtraError(ConfigurationError, ImportError):
    """An optional part of chatmemory is not installed."""


def missing_extra(what: str, package: str, extra: str) -> MissingExtraError:
    """Make the error for a part that needs a package which an extra installs."""
    how = f'pip install "{DISTRIBUTION}[{extra}]" (".[{extra}]" in a clone)'
    return MissingExtraError(f"{what} needs {package}, which is not installed: {how}.")


@public
class InvalidInputError(ChatMemoryError, ValueError):
    """The input was rejected; nothing was written."""


@public
class ContentTooLargeError(InvalidInputError):
    """The message is larger than max_message_bytes; nothing was written."""


@public
class ContextTooSmallError(InvalidInputError):
    """The required parts of the prompt exceed max_tokens."""


@public
class KindError(InvalidInputError):
    """There is no such kind of session."""


@public
class SessionError(ChatMemoryError):
    """The session does not allow this."""


@public
class SessionNotFoundError(SessionError, LookupError):
    """There is no such session."""


@public
class SessionExistsError(SessionError):
    """A session with this id exists already."""


@public
class SessionEndedError(SessionError):
    """The session has ended and accepts no more messages."""


@public
class SessionLimitError(SessionError):
    """The user already has max_sessions_per_user active sessions."""


@public
class MoveError(SessionError):
    """A run of this kind cannot change to this run status."""


@public
class MessageConflictError(ChatMemoryError):
    """A message with this id is already stored with other content."""


@public
class MemoryNotFoundError(ChatMemoryError, LookupError):
    """There is no such memory."""


@public
class LlmError(ChatMemoryError):
    """A language model or an embedder failed, or its answer is unusable.

    Attributes:
        spent: Input and output tokens of an unusable answer, as it costs money too.
    """

    def __init__(self, message: str | None = None, spent: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message)
        self.spent = spent


@public
class StorageError(ChatMemoryError):
    """The storage failed."""


@public
class StorageUnavailableError(StorageError):
    """Postgres cannot be reached, does not answer in time, or takes no writes.

    Attributes:
        may_be_stored: Whether what the call was to write may be stored. It is never stored in part.
    """

    def __init__(self, message: str | None = None, may_be_stored: bool = False) -> None:
        super().__init__(message)
        self.may_be_stored = may_be_stored


@public
class EmbeddedServerError(StorageError):
    """The embedded Postgres could not be started."""


@public
class SchemaVersionError(StorageError):
    """The database's schema does not match this version of the library."""


@public
class SchemaPermissionError(StorageError):
    """The database user may not create the schema."""
