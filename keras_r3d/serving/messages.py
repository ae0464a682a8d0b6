"""How many clips go into one message, and how a clip's frames are compressed."""

from collections.abc import Sequence

from keras_r3d.data.decoding.decoder import Frame
from keras_r3d.system.errors import ServingError
from keras_r3d.system.opencv import cv2

MOST_CLIPS = 8  # in a message: a batching server refuses more than its `max_batch_size`


def pack(sizes: Sequence[int], most_bytes: int, most_clips: int = MOST_CLIPS) -> list[slice]:
    """Divides clips into messages: consecutive ones, as many as go into each.

    Args:
        sizes: bytes of each clip in a message.
        most_bytes: of a message.

    Returns:
        Slices, one after the other, that cover all.

    Raises:
        ServingError: a clip is larger than a message may be.
    """
    messages: list[slice] = []
    start = held = 0
    for number, size in enumerate(sizes):
        if size > most_bytes:
            raise ServingError(
                f"One clip is a message of {size / 2**20:.3g} MiB, and messages may have "
                f"{most_bytes / 2**20:.3g}: raise --max_message_mib if the server takes more, or "
                "send compressed frames (--signature jpeg)."
            )
        if number > start and (held + size > most_bytes or number - start == most_clips):
            messages.append(slice(start, number))
            start, held = number, 0
        held += size
    if sizes:
        messages.append(slice(start, len(sizes)))
    return messages


def compressed(clip: Frame, quality: int) -> list[bytes]:
    """Returns the frames of a clip as JPEGs.

    Args:
        clip: uint8 `(frames, height, width, 3)`, RGB.
        quality: 1 to 100.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return [cv2.imencode(".jpg", frame[..., ::-1], options)[1].tobytes() for frame in clip]
