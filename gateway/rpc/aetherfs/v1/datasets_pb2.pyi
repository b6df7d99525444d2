import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WhoAmIRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WhoAmIResponse(_message.Message):
    __slots__ = ("principal", "kind", "name", "groups", "owner", "rules", "admin", "login")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    ADMIN_FIELD_NUMBER: _ClassVar[int]
    LOGIN_FIELD_NUMBER: _ClassVar[int]
    principal: str
    kind: str
    name: str
    groups: _containers.RepeatedScalarFieldContainer[str]
    owner: str
    rules: _containers.RepeatedScalarFieldContainer[str]
    admin: bool
    login: bool
    def __init__(self, principal: _Optional[str] = ..., kind: _Optional[str] = ..., name: _Optional[str] = ..., groups: _Optional[_Iterable[str]] = ..., owner: _Optional[str] = ..., rules: _Optional[_Iterable[str]] = ..., admin: _Optional[bool] = ..., login: _Optional[bool] = ...) -> None: ...

class ListDatasetsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDatasetsResponse(_message.Message):
    __slots__ = ("datasets", "next_page_token")
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    datasets: _containers.RepeatedScalarFieldContainer[str]
    next_page_token: str
    def __init__(self, datasets: _Optional[_Iterable[str]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetDatasetRequest(_message.Message):
    __slots__ = ("dataset",)
    DATASET_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    def __init__(self, dataset: _Optional[str] = ...) -> None: ...

class Dataset(_message.Message):
    __slots__ = ("dataset", "tags", "created", "changed")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    tags: int
    created: _timestamp_pb2.Timestamp
    changed: _timestamp_pb2.Timestamp
    def __init__(self, dataset: _Optional[str] = ..., tags: _Optional[int] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., changed: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListTagsRequest(_message.Message):
    __slots__ = ("dataset", "page_size", "page_token")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    page_size: int
    page_token: str
    def __init__(self, dataset: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTagsResponse(_message.Message):
    __slots__ = ("tags", "next_page_token")
    TAGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.RepeatedCompositeFieldContainer[Tag]
    next_page_token: str
    def __init__(self, tags: _Optional[_Iterable[_Union[Tag, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetTagRequest(_message.Message):
    __slots__ = ("dataset", "tag")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    tag: str
    def __init__(self, dataset: _Optional[str] = ..., tag: _Optional[str] = ...) -> None: ...

class Tag(_message.Message):
    __slots__ = ("dataset", "tag", "kind", "manifest", "size", "files", "time")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Tag.Kind]
        VERSION: _ClassVar[Tag.Kind]
        CHANNEL: _ClassVar[Tag.Kind]
    KIND_UNSPECIFIED: Tag.Kind
    VERSION: Tag.Kind
    CHANNEL: Tag.Kind
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    tag: str
    kind: Tag.Kind
    manifest: str
    size: int
    files: int
    time: _timestamp_pb2.Timestamp
    def __init__(self, dataset: _Optional[str] = ..., tag: _Optional[str] = ..., kind: _Optional[_Union[Tag.Kind, str]] = ..., manifest: _Optional[str] = ..., size: _Optional[int] = ..., files: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("manifest", "absent")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    manifest: str
    absent: bool
    def __init__(self, manifest: _Optional[str] = ..., absent: _Optional[bool] = ...) -> None: ...

class SetTagRequest(_message.Message):
    __slots__ = ("dataset", "tag", "manifest", "reference", "message", "condition")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    tag: str
    manifest: str
    reference: str
    message: str
    condition: Condition
    def __init__(self, dataset: _Optional[str] = ..., tag: _Optional[str] = ..., manifest: _Optional[str] = ..., reference: _Optional[str] = ..., message: _Optional[str] = ..., condition: _Optional[_Union[Condition, _Mapping]] = ...) -> None: ...

class SetTagResponse(_message.Message):
    __slots__ = ("tag", "made")
    TAG_FIELD_NUMBER: _ClassVar[int]
    MADE_FIELD_NUMBER: _ClassVar[int]
    tag: Tag
    made: bool
    def __init__(self, tag: _Optional[_Union[Tag, _Mapping]] = ..., made: _Optional[bool] = ...) -> None: ...

class DeleteTagRequest(_message.Message):
    __slots__ = ("dataset", "tag", "condition")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    tag: str
    condition: Condition
    def __init__(self, dataset: _Optional[str] = ..., tag: _Optional[str] = ..., condition: _Optional[_Union[Condition, _Mapping]] = ...) -> None: ...

class DeleteTagResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Place(_message.Message):
    __slots__ = ("dataset", "tag", "path", "raw_path")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    RAW_PATH_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    tag: str
    path: str
    raw_path: bytes
    def __init__(self, dataset: _Optional[str] = ..., tag: _Optional[str] = ..., path: _Optional[str] = ..., raw_path: _Optional[bytes] = ...) -> None: ...

class ListFolderRequest(_message.Message):
    __slots__ = ("place", "page_size", "page_token")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    place: Place
    page_size: int
    page_token: str
    def __init__(self, place: _Optional[_Union[Place, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListFolderResponse(_message.Message):
    __slots__ = ("manifest", "entries", "next_page_token")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    manifest: str
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    next_page_token: str
    def __init__(self, manifest: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("name", "raw_name", "kind", "size", "time", "executable", "target")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Entry.Kind]
        FILE: _ClassVar[Entry.Kind]
        FOLDER: _ClassVar[Entry.Kind]
        LINK: _ClassVar[Entry.Kind]
    KIND_UNSPECIFIED: Entry.Kind
    FILE: Entry.Kind
    FOLDER: Entry.Kind
    LINK: Entry.Kind
    NAME_FIELD_NUMBER: _ClassVar[int]
    RAW_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    EXECUTABLE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    name: str
    raw_name: bytes
    kind: Entry.Kind
    size: int
    time: _timestamp_pb2.Timestamp
    executable: bool
    target: str
    def __init__(self, name: _Optional[str] = ..., raw_name: _Optional[bytes] = ..., kind: _Optional[_Union[Entry.Kind, str]] = ..., size: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., executable: _Optional[bool] = ..., target: _Optional[str] = ...) -> None: ...

class ReadFileRequest(_message.Message):
    __slots__ = ("place", "offset", "length")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    place: Place
    offset: int
    length: int
    def __init__(self, place: _Optional[_Union[Place, _Mapping]] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class ReadFileResponse(_message.Message):
    __slots__ = ("head", "data")
    class Head(_message.Message):
        __slots__ = ("manifest", "size", "offset", "length", "time", "sha256")
        MANIFEST_FIELD_NUMBER: _ClassVar[int]
        SIZE_FIELD_NUMBER: _ClassVar[int]
        OFFSET_FIELD_NUMBER: _ClassVar[int]
        LENGTH_FIELD_NUMBER: _ClassVar[int]
        TIME_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        manifest: str
        size: int
        offset: int
        length: int
        time: _timestamp_pb2.Timestamp
        sha256: bytes
        def __init__(self, manifest: _Optional[str] = ..., size: _Optional[int] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sha256: _Optional[bytes] = ...) -> None: ...
    HEAD_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    head: ReadFileResponse.Head
    data: bytes
    def __init__(self, head: _Optional[_Union[ReadFileResponse.Head, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...
