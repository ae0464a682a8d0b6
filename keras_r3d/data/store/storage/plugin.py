"""Calling the file systems of tensorflow-io by the C interface that they show to TensorFlow.

Python's doors to them read more than they are told: `tf.io.gfile.GFile` asks for the byte before
the place it seeks and then for 512 KiB; if that byte fails to come, it takes all that lies before,
from the beginning of the file, 8 MiB at a time. Here a read is one request for what is wanted.

Reference: tensorflow/c/experimental/filesystem/filesystem_interface.h in TensorFlow 2.16.
"""

import ctypes
import importlib
import os
import threading
import warnings
from typing import Any

from keras_r3d.data.store.storage.remote import StorageError

_NOT_FOUND = 5  # of tf.errors

_lock = threading.Lock()
_file_systems: dict[str, "FileSystem"] = {}


class FileSystemError(Exception):
    """What a file system answered instead; never leaves a storage.

    Attributes:
        code: as in `tf.errors`.
    """

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class _Object(ctypes.Structure):
    """TF_Filesystem and TF_RandomAccessFile: what the plugin keeps for each."""

    _fields_ = (("plugin", ctypes.c_void_p),)


class _FileStatistics(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_int64),
        ("mtime_nsec", ctypes.c_int64),
        ("is_directory", ctypes.c_bool),
    )


class _FileOps(ctypes.Structure):
    _fields_ = (
        ("cleanup", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Object))),
        (
            "read",
            ctypes.CFUNCTYPE(
                *(ctypes.c_int64, ctypes.POINTER(_Object), ctypes.c_uint64, ctypes.c_size_t),
                *(ctypes.c_char_p, ctypes.c_void_p),
            ),
        ),
    )


class _FileSystemOps(ctypes.Structure):
    _fields_ = (
        ("init", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Object), ctypes.c_void_p)),
        ("cleanup", ctypes.c_void_p),
        (
            "open",  # new_random_access_file
            ctypes.CFUNCTYPE(
                *(None, ctypes.POINTER(_Object), ctypes.c_char_p, ctypes.POINTER(_Object)),
                ctypes.c_void_p,
            ),
        ),
        ("unused", ctypes.c_void_p * 12),  # new_writable_file to paths_exist
        (
            "stat",
            ctypes.CFUNCTYPE(
                *(None, ctypes.POINTER(_Object), ctypes.c_char_p, ctypes.POINTER(_FileStatistics)),
                ctypes.c_void_p,
            ),
        ),
    )  # and more, of which nothing is used


_ABI_API_SIZE = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t)


class _PluginOps(ctypes.Structure):
    _fields_ = (
        ("scheme", ctypes.c_char_p),
        *zip(("system_abi", "system_api", "system_size"), _ABI_API_SIZE, strict=True),
        ("system", ctypes.POINTER(_FileSystemOps)),
        *zip(("file_abi", "file_api", "file_size"), _ABI_API_SIZE, strict=True),
        ("file", ctypes.POINTER(_FileOps)),
        *zip(("writable_abi", "writable_api", "writable_size"), _ABI_API_SIZE, strict=True),
        ("writable", ctypes.c_void_p),
        *zip(("region_abi", "region_api", "region_size"), _ABI_API_SIZE, strict=True),
        ("region", ctypes.c_void_p),
    )


class _PluginInfo(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_size_t),
        ("ops", ctypes.POINTER(_PluginOps)),
        ("allocate", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


class FileSystem:
    """The file system of a scheme. Its methods may be called from any thread."""

    def __init__(self, ops: _PluginOps, tensorflow: ctypes.CDLL):
        self._system, self._file = ops.system.contents, ops.file.contents
        self._tensorflow = tensorflow
        self._own = _Object()
        with _Status(tensorflow) as status:
            self._system.init(ctypes.byref(self._own), status.pointer)
            status.check()

    def size(self, url: str) -> int:
        """Returns the size of a file, in bytes."""
        found = _FileStatistics()
        with _Status(self._tensorflow) as status:
            self._system.stat(
                ctypes.byref(self._own), url.encode(), ctypes.byref(found), status.pointer
            )
            status.check()
        if found.is_directory:  # of S3: something lies below the name
            raise FileSystemError(_NOT_FOUND, "it is a folder")
        return found.length

    def open(self, url: str) -> _Object:
        """Opens a file for `read`, which must be given to `close`; S3 sends nothing yet."""
        file = _Object()
        with _Status(self._tensorflow) as status:
            self._system.open(
                ctypes.byref(self._own), url.encode(), ctypes.byref(file), status.pointer
            )
            status.check()
        return file

    def close(self, file: _Object) -> None:
        self._file.cleanup(ctypes.byref(file))

    def read(self, url: str, offset: int, size: int) -> bytes:
        """Reads a range of a file, in which it must lie: S3 ends the process if it lies behind."""
        buffer = ctypes.create_string_buffer(size)
        file = self.open(url)
        try:
            with _Status(self._tensorflow) as status:
                count = self._file.read(ctypes.byref(file), offset, size, buffer, status.pointer)
                status.check()
        finally:
            self.close(file)
        return buffer.raw[:count]


class _Status:
    """A TF_Status, to be freed."""

    def __init__(self, tensorflow: ctypes.CDLL):
        self._tensorflow = tensorflow
        self.pointer = tensorflow.TF_NewStatus()

    def __enter__(self) -> "_Status":
        return self

    def __exit__(self, *_: object) -> None:
        self._tensorflow.TF_DeleteStatus(self.pointer)

    def check(self) -> None:
        if code := self._tensorflow.TF_GetCode(self.pointer):
            message = self._tensorflow.TF_Message(self.pointer)
            raise FileSystemError(code, message.decode(errors="replace"))


def file_system(scheme: str, root: str) -> FileSystem:
    """Returns the file system of a scheme.

    It must not throw C++ exceptions, as that of az:// does: they would end the process.

    Raises:
        StorageError: as `register` does.
    """
    with _lock:
        if scheme not in _file_systems:
            _file_systems[scheme] = _load(scheme, root)
    return _file_systems[scheme]


def register(scheme: str, root: str) -> Any:
    """Makes TensorFlow know a scheme of tensorflow-io; returns that package.

    Raises:
        StorageError: tensorflow-io is not installed, or does not fit TensorFlow.
    """
    import tensorflow as tf

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of one that does not fit, which is told below
            package = importlib.import_module("tensorflow_io")
    except ImportError:
        raise _lacking(scheme, root, "is not installed, or does not load") from None
    if scheme not in tf.io.gfile.get_registered_schemes():
        raise _lacking(scheme, root, f"does not fit TensorFlow {tf.__version__}")
    return package


def _load(scheme: str, root: str) -> FileSystem:
    import tensorflow as tf

    package = register(scheme, root)
    tensorflow = ctypes.CDLL(os.path.join(tf.sysconfig.get_lib(), "libtensorflow_framework.so.2"))
    tensorflow.TF_NewStatus.restype = ctypes.c_void_p
    tensorflow.TF_DeleteStatus.argtypes = [ctypes.c_void_p]
    tensorflow.TF_GetCode.argtypes = [ctypes.c_void_p]
    tensorflow.TF_Message.argtypes = [ctypes.c_void_p]
    tensorflow.TF_Message.restype = ctypes.c_char_p
    libc = ctypes.CDLL(None)
    info = _PluginInfo(
        allocate=ctypes.cast(libc.malloc, ctypes.c_void_p),
        free=ctypes.cast(libc.free, ctypes.c_void_p),
    )
    folder = os.path.join(os.path.dirname(package.__file__), "python", "ops")
    plugin = ctypes.CDLL(os.path.join(folder, "libtensorflow_io_plugins.so"))
    plugin.TF_InitPlugin(ctypes.byref(info))
    ops = next(ops for ops in info.ops[: info.count] if ops.scheme == scheme.encode())
    versions = (ops.system_abi, ops.system_api, ops.file_abi, ops.file_api)
    if any(versions) or ops.file_size != ctypes.sizeof(_FileOps):
        raise _lacking(scheme, root, f"has another interface in version {package.__version__}")
    return FileSystem(ops, tensorflow)


def _lacking(scheme: str, root: str, reason: str) -> StorageError:
    return StorageError(
        f"{root}: {scheme}:// is read by tensorflow-io, which {reason}. Install tensorflow==2.16.* "
        "with tensorflow-io==0.37.1 on Python 3.11 or 3.12 (there is none for later ones), or copy "
        "the store to the disk."
    )
