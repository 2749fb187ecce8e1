"""A build cut into shards for a job array: each job encodes its share, a last one joins them.

    for i in 1 2 3 4; do python -m data_prep build RECIPE.yaml --out DIR --shard $i/4; done      # each may be a job
    python -m data_prep build RECIPE.yaml --out DIR                                              # finds DIR.shards

Every job reads and checks all rows, which is cheap beside encoding them, and so knows without the others which ones
are its own: every fourth chunk. The last build reads the chunks back in their order, so its bytes are those of a build
without shards. DIR.shards/2-of-4.pickle holds the build's key, then what each chunk became (data_prep.fit.Fitted).
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from data_prep.build_dir import BuildError
from data_prep.outfile import OutFile

if TYPE_CHECKING:
    from data_prep.fit import Fitted


class Shard(NamedTuple):
    """Number `number`, from 1, of `total`."""

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`2/8`. Raises ValueError."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        shard = cls(*map(int, match.groups())) if match else cls(0, 0)
        if not 1 <= shard.number <= shard.total:
            raise ValueError(f"{text!r} is no shard; give number/total, such as one from 1/8 to 8/8")
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    @property
    def own(self) -> slice:
        """Its share of a list."""
        return slice(self.number - 1, None, self.total)


class Shards:
    """The shards of the build in `out`, which stand in a folder beside it."""

    def __init__(self, out: str | os.PathLike[str]):
        self.folder = Path(f"{os.path.abspath(out)}.shards")

    def write(self, shard: Shard, key: str, results: Iterable[Fitted]) -> Path:
        """One shard's file, whole or not there; returns its path."""
        path = self._path(shard)
        with OutFile(path) as file:
            file.write(pickle.dumps(key))
            for fitted in results:
                file.write(pickle.dumps(fitted, protocol=5))
        return path

    def count(self) -> int:
        """How many shards there should be; 0 where none was written. Raises BuildError for shards of two builds."""
        found = {int(path.stem.rpartition("-")[2]) for path in self.folder.glob("*-of-*.pickle")}
        if len(found) > 1:
            raise BuildError(
                f"{self.folder}: holds shards of {' and of '.join(map(str, sorted(found)))}; remove one set"
            )
        return max(found, default=0)

    def read(self, key: str, chunks: int) -> Generator[Fitted, None, None]:
        """What each chunk became, in order. Raises BuildError, naming the shard, for a missing or another build's."""
        count = self.count()
        shards = [Shard(number, count) for number in range(1, count + 1)]
        missing = [str(shard) for shard in shards if not self._path(shard).is_file()]
        if missing:
            raise BuildError(
                f"{self.folder}: shard {', '.join(missing)} is missing; build it with --shard {missing[0]}, or remove "
                "the folder to build without shards"
            )
        with ExitStack() as stack:
            files: list[BinaryIO] = [stack.enter_context(open(self._path(shard), "rb")) for shard in shards]
            for shard, file in zip(shards, files, strict=True):
                if pickle.load(file) != key:
                    raise BuildError(
                        f"{self._path(shard)}: shard {shard} was made from another recipe, data, tokenizer or code; "
                        f"build it again with --shard {shard}, or remove the folder to build without shards"
                    )
            for chunk in range(chunks):
                yield pickle.load(files[chunk % count])

    def remove(self) -> None:
        """Remove them all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, shard: Shard) -> Path:
        return self.folder / f"{shard.number}-of-{shard.total}.pickle"
