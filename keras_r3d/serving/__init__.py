"""Asking a TensorFlow Serving model server what videos show, by REST or gRPC."""
