"""How many clips go into one message, and how a clip's frames are compressed."""

from collections.abc import Sequence

from keras_r3d.data.decoding.pixels import Frame
from keras_r3d.system.errors import ServingError
from keras_r3d.system.opencv import cv2

MOST_CLIPS = 8  # in a message: a batching server refuses more than its `max_batch_size`


def pack(sizes: Sequence[int], most_bytes: int, most_clips: int = MOST_CLIPS) -> list[slice]:
    """Divides clips, by their bytes, into messages of consecutive ones, each as full as can be.

    Returns slices that cover all; ServingError says that a clip is larger than a message may be.
    """
    messages: list[slice] = []
    start = total = 0
    for number, size in enumerate(sizes):
        if size > most_bytes:
            raise ServingError(
                f"One clip is a message of {size / 2**20:.3g} MiB, and messages may have "
                f"{most_bytes / 2**20:.3g}: raise `max_message_mib` if the server takes more, or "
                "send compressed frames (`signature` jpeg)."
            )
        if number > start and (total + size > most_bytes or number - start == most_clips):
            messages.append(slice(start, number))
            start, total = number, 0
        total += size
    return [*messages, slice(start, len(sizes))] if sizes else []


def compressed(clip: Frame, quality: int) -> list[bytes]:
    """Returns the frames of a clip, uint8 `(frames, height, width, 3)`, as JPEGs in RGB."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return [cv2.imencode(".jpg", frame[..., ::-1], options)[1].tobytes() for frame in clip]
