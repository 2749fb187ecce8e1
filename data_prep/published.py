"""The published data sets: where each file is, what it must hash to, and under which licence it comes.

Commits, paths and git blob ids are those of the published repositories; a git blob id is the sha1 of
`blob <size>\\0<bytes>`, so it proves a download without anyone having to publish a checksum.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

GITHUB = "https://raw.githubusercontent.com"
DRIVE = "https://drive.google.com"


class PublishedFile(NamedTuple):
    """One file; `blob_id` is None where no hash is published, `rows` then says how many to expect."""

    name: str
    host: str
    path: str
    blob_id: str | None = None
    rows: int | None = None


class Published(NamedTuple):
    """One data set: `files` are fetched by address, `hub_id` through the hub's own client."""

    licence: str
    source: str
    files: tuple[PublishedFile, ...] = ()
    hub_id: str | None = None


def _in_git(repository: str, commit: str, folder: str, blob_ids: dict[str, str]) -> tuple[PublishedFile, ...]:
    return tuple(
        PublishedFile(name, GITHUB, quote(f"/{repository}/{commit}/{folder}/{name}"), blob_id)
        for name, blob_id in blob_ids.items()
    )


PUBLISHED: dict[str, Published] = {
    "buttoninstruct": Published(
        licence="CC BY 4.0, Chen et al. 2024 (arXiv 2410.12952)",
        source="button",
        files=_in_git(
            "PKU-Baichuan-MLSystemLab/BUTTON",
            "47cb720",
            "data",
            {"button_instruct.jsonl": "5dfcf62a141df95b4c58a3bb185bfa45560022ec"},
        ),
    ),
    "mathchat": Published(
        licence="Apache-2.0, Liang et al. 2024 (arXiv 2405.19444); benchmark data, never a training source",
        source="gsm8k",
        files=_in_git(
            "Zhenwen-NLP/MathChat",
            "f9d899866bd9146b0a2d91ff8362b4440c19adb0",
            "MathChat Benchmark",
            {
                "P2P_Generation.jsonl": "a881a3e38d8b1196abc49e8d62711e2f89b10eb1",
                "error_analysis.jsonl": "49d7c2569f9926c3ce374ac472de55f6db41b45d",
                "error_correction.jsonl": "3195cc165fd1b63d3bb629f14d2098a0e8bbce2e",
                "follow_up.jsonl": "23fccf28805e70cd24ddc332997a7178134e5167",
            },
        ),
    ),
    "mathchatsync": Published(
        licence="no licence is published with the file; Liang et al. 2024 (arXiv 2405.19444)",
        source="mathchatsync",
        files=(
            PublishedFile(
                "mathchatsync.json",
                DRIVE,
                "/uc?export=download&id=1nkAXAL9EpmDiceoV_qv6M00Lj0LA7MKX",
                rows=144_978,
            ),
        ),
    ),
    "gsm8k": Published(
        licence="MIT, Cobbe et al. 2021 (arXiv 2110.14168), copyright OpenAI",
        source="gsm8k",
        files=_in_git(
            "openai/grade-school-math",
            "3101c7d5072418e28b9008a6636bde82a006892c",
            "grade_school_math/data",
            {
                "train.jsonl": "7d97154b91aef28d01c3301741c81ce90039a4b1",
                "test.jsonl": "e4c2ff4942b9a78bd74f04141224c11e28d12dc9",
            },
        ),
    ),
    "openhermes": Published(
        licence="none stated on the hub; a compilation whose parts have licences of their own",
        source="sharegpt",
        hub_id="teknium/OpenHermes-2.5",
    ),
}
