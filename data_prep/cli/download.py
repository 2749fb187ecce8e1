"""python -m data_prep download NAME ... [--dir data] [--base-url URL] [--revision COMMIT]

NAME is buttoninstruct, mathchat, mathchatsync, gsm8k or openhermes. Files go to DIR/NAME/, pinned to a commit and
verified by git blob id; the same command goes on where an earlier one stopped, and does nothing once all is there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from data_prep.download import DownloadError, fetch, file_sha256, git_blob_id
from data_prep.published import PUBLISHED, Published, PublishedFile
from data_prep.readers import ReadError, read_rows


def main(argv: Sequence[str]) -> int:
    """Fetch the data sets named; returns 0 or raises DownloadError."""
    parser = argparse.ArgumentParser(prog="python -m data_prep download", description=__doc__.split("\n\n")[1])
    parser.add_argument("names", nargs="+", choices=PUBLISHED, metavar="NAME", help=", ".join(PUBLISHED))
    parser.add_argument("--dir", default="data", type=Path, help="folder that gets a folder NAME (default: data)")
    parser.add_argument("--base-url", metavar="URL", help="a mirror in place of the published host")
    parser.add_argument("--revision", default="main", help="of a hub data set: commit, tag or branch (default: main)")
    args = parser.parse_args(argv)
    for name in args.names:
        published, folder = PUBLISHED[name], args.dir / name
        print(f"{name}: licence: {published.licence}")
        for file in published.files:
            _fetch_file(file, folder / file.name, args.base_url)
        if published.hub_id is not None:
            _fetch_from_hub(published, folder, args.revision, args.base_url)
    return 0


def _fetch_file(file: PublishedFile, path: Path, base_url: str | None) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(file.name, total=None)
        url = f"{(base_url or file.host).rstrip('/')}{file.path}"
        fetched = fetch(url, path, file.blob_id, lambda done, total: bar.update(task, completed=done, total=total))
    if file.rows is not None:
        _count_rows(path, file.rows)
    proof = f"git blob id {file.blob_id}" if file.blob_id else "no hash is published"
    print(f"  {path}: {'fetched' if fetched else 'there already'}, {path.stat().st_size:,} bytes, {proof}")


def _count_rows(path: Path, wanted: int) -> None:
    """Without a published hash the number of rows is all there is to go by; what can't be read is not kept."""
    try:
        rows = sum(1 for _ in read_rows(str(path)))
    except ReadError as error:
        path.unlink()
        raise DownloadError(f"{error}; the file was removed, fetch it again") from error
    if rows != wanted:
        print(
            f"warning: {path}: {rows:,} rows, {wanted:,} were published: not the file the paper used", file=sys.stderr
        )


def _fetch_from_hub(published: Published, folder: Path, revision: str, endpoint: str | None) -> None:
    """A hub data set through the hub's own client, which resumes; its commit is recorded and used again."""
    import huggingface_hub

    pinned = folder / "REVISION"
    if revision == "main" and pinned.is_file():
        revision = pinned.read_text().strip()
    hub_id = published.hub_id or ""
    try:
        api = huggingface_hub.HfApi(endpoint=endpoint)
        info = api.dataset_info(hub_id, revision=revision, files_metadata=True)
        api.snapshot_download(hub_id, repo_type="dataset", revision=info.sha, local_dir=folder)
    except Exception as error:  # the client raises what its HTTP library raises
        raise DownloadError(
            f"{hub_id}@{revision}: {type(error).__name__}: {error}; check the network and the name, "
            "the same command goes on where it stopped"
        ) from error
    for file in info.siblings or []:
        _verify(folder / file.rfilename, file.lfs.sha256 if file.lfs else None, file.blob_id)
    pinned.write_text(f"{info.sha}\n")
    print(f"  {folder}: {hub_id}@{info.sha}, hashes verified; --revision {info.sha} fetches the same again")


def _verify(path: Path, sha256: str | None, blob_id: str | None) -> None:
    """Large files of a hub data set are known by their sha256, small ones by their git blob id."""
    found = file_sha256(path) if sha256 else git_blob_id(path)
    if found != (sha256 or blob_id):
        path.unlink()
        raise DownloadError(f"{path}: hash {found}, wanted {sha256 or blob_id}; the file was removed, fetch it again")
