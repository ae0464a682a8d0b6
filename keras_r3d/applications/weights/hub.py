"""Files of weights from the Hugging Face hub, `hf://OWNER/NAME/FILE`, by `huggingface_hub`."""

import re
import urllib.parse

from keras_r3d.system.errors import WeightsError
from keras_r3d.system.objects import outputs

SCHEME = "hf://"
_ADDRESS = re.compile(r"hf://([^/@#]+/[^/@#]+)(?:@([^/@#]+))?/([^#]+)(#.+)?")


def fetch(weights: str, argument: str = "weights") -> str:
    """Returns the path of the file that an address stands for; what is none, as it came.

    Of s3:// and gs:// it is a file or a folder, downloaded each time.
    `hf://OWNER/NAME@REVISION/FILE` names a branch, tag or commit (its "/" as %2F); `#KEY` stays
    behind the path. huggingface_hub downloads the file into its cache, with its own token.
    WeightsError says what is wrong, in words of ours only: theirs might repeat what was sent.
    """
    if not weights.startswith(SCHEME):
        return outputs.fetched(weights, argument)
    if (match := _ADDRESS.fullmatch(weights)) is None:
        raise WeightsError(
            "An address on the Hugging Face hub must be hf://OWNER/NAME/FILE or "
            f"hf://OWNER/NAME@REVISION/FILE. Received: {weights}"
        )
    repository, revision, file, key = match.groups()
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise WeightsError(
            f"{weights} needs huggingface_hub, which is not installed: "
            "`pip install 'keras_r3d[hub]'`."
        ) from None
    revision = urllib.parse.unquote(revision) if revision else None
    try:
        return huggingface_hub.hf_hub_download(repository, file, revision=revision) + (key or "")
    except errors.LocalEntryNotFoundError as error:
        cause = f" ({type(error.__cause__).__name__})" if error.__cause__ else ""
        reason = f"the hub cannot be reached{cause}, and the file is not in the cache: try again "
        reason += "where it can (HF_ENDPOINT names another server, HF_HUB_OFFLINE=1 asks none)"
    except errors.EntryNotFoundError:
        reason = f"the repository has no file {file} in this revision"
    except errors.RevisionNotFoundError:
        reason = f"the repository has no revision {revision}"
    except errors.GatedRepoError:
        reason = f"its owner grants access: ask on the page of {repository}, then `hf auth login`"
    except errors.RepositoryNotFoundError:
        reason = (
            f"there is no repository {repository}, or it is private: then `hf auth login`, or set "
            "HF_TOKEN, to one who may read it"
        )
    except errors.HFValidationError:
        reason = f"{repository} is no name of a repository"
    except Exception as error:  # of its HTTP client, which is another in each major version
        status = getattr(getattr(error, "response", None), "status_code", None)
        answer = f"the server answered {status}" if status else type(error).__name__
        reason = f"the download failed ({answer}); try again"
    raise WeightsError(f"{weights} cannot be had: {reason}.")
