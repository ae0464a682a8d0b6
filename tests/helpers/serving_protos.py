"""Messages of TensorFlow Serving, written down from its `.proto` files as far as they are used.

Tests read with them what was written, also where `tensorflow-serving-api` is not installed. A
TensorProto is bytes here, which are the same on the wire.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_Field = descriptor_pb2.FieldDescriptorProto
_INT64 = ".google.protobuf.Int64Value"
_MESSAGES = {
    "ModelSpec": [(1, "name", "string"), (2, "version", _INT64), (3, "signature_name", "string")],
    "Input": [(1, "key", "string"), (2, "value", "bytes")],
    "PredictRequest": [
        (1, "model_spec", ".own.ModelSpec"),
        (2, "inputs", "repeated .own.Input"),
        (3, "output_filter", "repeated string"),
    ],
    "PredictLog": [(1, "request", ".own.PredictRequest")],
    "PredictionLog": [(6, "predict_log", ".own.PredictLog")],
    "BatchingParameters": [
        (1, "max_batch_size", _INT64),
        (2, "batch_timeout_micros", _INT64),
        (3, "max_enqueued_batches", _INT64),
        (4, "num_batch_threads", _INT64),
        (6, "allowed_batch_sizes", "repeated int64"),
    ],
    "Latest": [(1, "num_versions", "uint32")],
    "Policy": [(100, "latest", ".own.Latest")],
    "ModelConfig": [
        (1, "name", "string"),
        (2, "base_path", "string"),
        (4, "model_platform", "string"),
        (7, "model_version_policy", ".own.Policy"),
    ],
    "ModelConfigList": [(1, "config", "repeated .own.ModelConfig")],
    "ModelServerConfig": [(1, "model_config_list", ".own.ModelConfigList")],
}


def _messages() -> dict[str, type]:
    file = descriptor_pb2.FileDescriptorProto(name="own.proto", package="own", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind in fields:
            repeated = kind.startswith("repeated ")
            kind = kind.removeprefix("repeated ")
            described = message.field.add(name=field, number=number)
            described.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if kind.startswith("."):
                described.type, described.type_name = _Field.TYPE_MESSAGE, kind
            else:
                described.type = getattr(_Field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"own.{name}"))
        for name in _MESSAGES
    }


_FOUND = _messages()
PredictionLog = _FOUND["PredictionLog"]
BatchingParameters = _FOUND["BatchingParameters"]
ModelServerConfig = _FOUND["ModelServerConfig"]
