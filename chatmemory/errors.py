"""Every error chatmemory raises, in one tree.

ChatMemoryError
├── ConfigurationError            settings or an address that cannot work
│   └── MissingExtraError         an optional part is not installed (also ImportError)
├── InvalidInputError             refused; but for a ContextTooSmallError nothing was written (also ValueError)
│   ├── ContentTooLargeError
│   ├── ContextTooSmallError      what must be in a prompt does not fit into max_tokens
│   └── KindError                 a kind that is not known, or cannot be declared so
├── SessionError
│   ├── SessionNotFoundError      missing, deleted, or someone else's: they look the same (also LookupError)
│   ├── SessionExistsError
│   ├── SessionEndedError
│   ├── SessionLimitError
│   └── MoveError                 the kind of session does not go from its run status to that one
├── MessageConflictError          the same message id with other content
├── MemoryNotFoundError           no such long-term memory here (also LookupError)
├── LlmError                      a language model or an embedder failed, or answered what cannot be used
└── StorageError
    ├── StorageUnavailableError   Postgres cannot be reached, or went away
    ├── EmbeddedServerError       the private Postgres could not be started
    ├── SchemaVersionError        the database is not as this library needs it
    └── SchemaPermissionError     the database user may not create what is missing

No message of these errors holds a password, an API key, or the content of a message.
"""

from chatmemory._public import public


@public
class ChatMemoryError(Exception):
    """Something in chatmemory went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").partition("\n")[0])


@public
class ConfigurationError(ChatMemoryError):
    """A setting or an address cannot work as given."""


@public
class MissingExtraError(ConfigurationError, ImportError):
    """An optional part of chatmemory is not installed."""


@public
class InvalidInputError(ChatMemoryError, ValueError):
    """The input was refused; nothing was written."""


@public
class ContentTooLargeError(InvalidInputError):
    """The message is larger than max_message_bytes; nothing was written."""


@public
class ContextTooSmallError(InvalidInputError):
    """What must be in the prompt does not fit into max_tokens."""


@public
class KindError(InvalidInputError):
    """There is no such kind of session."""


@public
class SessionError(ChatMemoryError):
    """The session does not allow this."""


@public
class SessionNotFoundError(SessionError, LookupError):
    """There is no such session here."""


@public
class SessionExistsError(SessionError):
    """A session with this id exists already."""


@public
class SessionEndedError(SessionError):
    """The session has ended and takes no more messages."""


@public
class SessionLimitError(SessionError):
    """The user has as many active sessions as max_sessions_per_user allows."""


@public
class MoveError(SessionError):
    """A run of this kind cannot make this move."""


@public
class MessageConflictError(ChatMemoryError):
    """A message with this id is stored with other content."""


@public
class MemoryNotFoundError(ChatMemoryError, LookupError):
    """There is no such memory here."""


@public
class LlmError(ChatMemoryError):
    """A language model or an embedder failed, or answered what cannot be used.

    Attributes:
        spent: The tokens of the question and of the answer, where an answer was given and paid for.
    """

    def __init__(self, message: str | None = None, spent: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message)
        self.spent = spent


@public
class StorageError(ChatMemoryError):
    """The storage could not do it."""


@public
class StorageUnavailableError(StorageError):
    """Postgres cannot be reached."""


@public
class EmbeddedServerError(StorageError):
    """The embedded Postgres could not be started."""


@public
class SchemaVersionError(StorageError):
    """The database's schema is not the one this library works with."""


@public
class SchemaPermissionError(StorageError):
    """The database user may not create the schema."""
