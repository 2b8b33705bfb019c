"""What a child process gets of this one's environment: what it needs, by name, and nothing else.

A program that trains or checks has no use for keys, passwords and addresses of services; whatever
the operator's shell holds beside them is not known here, so it stays here.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]  # where the package `lora` lies
# Names, and how names begin where they end in "*". In capitals: Windows tells none apart.
ALLOWED = (
    # who and where
    "HOME", "USER", "LOGNAME", "PATH", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "TEMP", "TMP",
    "USERPROFILE", "USERNAME", "HOMEDRIVE", "HOMEPATH", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA",
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "NUMBER_OF_PROCESSORS",
    "PROCESSOR_ARCHITECTURE",
    # Python and the libraries that it loads
    "PYTHONPATH", "PYTHONHOME", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING",
    "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONWARNINGS", "PYTHONFAULTHANDLER",
    "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH",
    "MALLOC_*",
    # torch and what it computes on
    "CUDA_*", "NVIDIA_*", "CUBLAS_*", "CUDNN_*", "NCCL_*", "TORCH_*", "TORCHINDUCTOR_*",
    "PYTORCH_*", "TRITON_*", "HIP_*", "HSA_*", "ROCR_*", "ROCM_*", "MIOPEN_*", "OMP_*", "MKL_*",
    "KMP_*", "GOMP_*", "OPENBLAS_*", "BLIS_*", "ATEN_*", "DNNL_*", "ONEDNN_*",
    # where models lie, and how they are read
    "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_CACHE",
    "TRANSFORMERS_OFFLINE", "TRANSFORMERS_VERBOSITY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
    "TOKENIZERS_PARALLELISM", "DIFFUSERS_DISABLE_REMOTE_CODE",
    # ours
    "SDGEN_DATA_DIR", "SDGEN_DEVICE", "SDGEN_DTYPE", "SDGEN_THREADS", "SDGEN_MODEL",
    "SDGEN_SAFETY_CHECKER", "SDGEN_ADAPTER_MEMORY_MB", "SDGEN_MAX_ADAPTER_MB", "SDGEN_CREDENTIALS",
)  # fmt: skip
_EXACT = frozenset(name for name in ALLOWED if not name.endswith("*"))
_BEGINNINGS = tuple(name[:-1] for name in ALLOWED if name.endswith("*"))
# Nor is it passed on where a name that begins well ends so, or an address holds a login.
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|AUTH|CREDENTIAL|COOKIE|PROXY")
_LOGIN_IN_ADDRESS = re.compile(r"://[^/\s@]*@")


def child_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process that finds this program, and fetches nothing.

    given: this process's own.
    """
    kept = {
        name: value
        for name, value in given.items()
        if _is_allowed(name.upper()) and not _LOGIN_IN_ADDRESS.search(value)
    }
    paths = [str(HOME), *filter(None, [kept.get("PYTHONPATH", "")])]
    return kept | {
        "PYTHONPATH": os.pathsep.join(paths),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    }


def _is_allowed(name: str) -> bool:
    if name in _EXACT:
        return True
    return name.startswith(_BEGINNINGS) and _SECRET.search(name) is None
