"""Known answers of Tool-Query on four questions of our own in the release's form, graphs as networkx pickles them."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_prep.dialogue import Message, ToolCall
from eval.environments.cassette import Cassette, NotRecordedError, load_cassette
from eval.environments.restricted_pickle import load_graph, loads
from eval.environments.tool_query import ToolQueryEnvironment, load_sources
from eval.environments.tool_query_apis import distance_km
from eval.environments.tool_query_tools import TOOLS, tools_of
from eval.protocol import EvalError, Item, Score, Step
from eval.tasks import tool_query
from eval.tasks.tool_query import matched, same_result
from tests.eval.helpers import reply_of
from tests.eval.policies import answering, calling, text_of

FIXTURES = Path(__file__).parent / "fixtures" / "tool-query"
RAIN = {"latitude": 56.16, "longitude": 10.21, "start_date": "2023-06-13", "end_date": "2023-06-14"}
# The gold policy of each question, one call a turn; the last is `finish`.
GOLD: list[list[tuple[str, dict[str, Any]]]] = [
    [
        ("loadAuthorNet", {}),
        ("neighbourCheck", {"graph": "AuthorNet", "node": "Ada Kern"}),
        ("finish", {"answer": 2}),
    ],
    [
        ("loadAuthorNet", {}),
        ("loadPaperNet", {}),
        ("authorEdgeCheck", {"node1": "Ada Kern", "node2": "Bo Lind"}),
        ("paperNodeCheck", {"node": "Soup Graphs"}),
        ("finish", {"answer": ["Soup Graphs", "Broth Networks", "KITCHEN"]}),  # a list is sorted
    ],
    [
        ("get_user_current_date", {}),
        ("get_user_current_location", {}),
        ("get_latitude_longitude", {"name": "Aarhus"}),
        ("get_historical_rain", RAIN),
        ("finish", {"answer": 1.5}),
    ],
    [
        ("get_search_movie", {"movie_name": "The Paper Lighthouse"}),
        ("get_movie_crew", {"movie_id": 77}),
        ("finish", {"answer": "Ines Roth"}),
    ],
]


def write_graphs(folder: Path, protocol: int = pickle.DEFAULT_PROTOCOL) -> None:
    """Two small nets as the release pickles them: networkx graphs over ids, and dicts between ids and names."""
    networkx = pytest.importorskip("networkx")
    papers, authors = networkx.DiGraph(), networkx.Graph()
    papers.add_node(0, year=2021, venue={"raw": "KITCHEN"}, keywords=["soup", "graphs"])
    papers.add_node(1, year=2019, venue={"raw": "POT"}, keywords=[])
    papers.add_edge(0, 1, weight=1)
    for number, name in enumerate(("Ada Kern", "Bo Lind", "Cy Marsh")):
        authors.add_node(number, name=name, org="Kitchen University")
    authors.add_edge(0, 1, weight=2, collaborative_papers=[0, 1])
    authors.add_edge(0, 2, weight=1, collaborative_papers=[1])
    _ = papers.nodes, papers.adj, authors.edges, authors.degree  # networkx keeps such views in the graph it pickles
    titles, names = ["Soup Graphs", "Broth Networks"], ["Ada Kern", "Bo Lind", "Cy Marsh"]
    values = {
        "paper_net": papers,
        "author_net": authors,
        "title2id_dict": {title: number for number, title in enumerate(titles)},
        "id2title_dict": dict(enumerate(titles)),
        "author2id_dict": {name: number for number, name in enumerate(names)},
        "id2author_dict": dict(enumerate(names)),
    }
    folder.mkdir(parents=True)
    for name, value in values.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value, protocol))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data") / "tool-query"
    shutil.copytree(FIXTURES, data)
    write_graphs(data / "academia" / "raw")
    return data


@pytest.fixture(scope="module")
def items(folder: Path) -> list[Item]:
    return tool_query.load([str(folder.parent)], None).items


Policy = Callable[[int], Message]


def play(item: Item, policy: Policy) -> list[Step]:
    steps: list[Step] = []
    while (request := tool_query.next_request(item, steps)) is not None:
        steps.append(Step(request.dialogue, reply_of(text_of(policy(len(steps))), True)))
    return steps


def run(item: Item, policy: Policy) -> Score:
    return tool_query.score(item, play(item, policy))


def calls(*made: tuple[str, dict[str, Any]], then: Message | None = None) -> Policy:
    """One call a turn, then a message."""
    return lambda turn: calling(made[turn]) if turn < len(made) else then or answering("I do not know.")


# ---- metrics


def test_the_gold_policy_succeeds_in_every_domain_with_every_step_grounded(items: list[Item]) -> None:
    assert [item.gold["domain"] for item in items] == ["academia", "academia", "weather", "movie"]
    for item, made in zip(items, GOLD, strict=True):
        score = run(item, calls(*made))
        assert set(score.values.values()) == {1.0} and score.notes["ending"] == "finished", item.id
        assert (score.notes["errors"], score.notes["not_recorded"]) == ("0", "0")
        difficulty = item.gold["difficulty"]
        assert {name for name in score.values if "_" in name} == {f"success_{difficulty}", f"progress_{difficulty}"}


def test_a_policy_that_stops_early_never_succeeds_and_keeps_its_progress(items: list[Item]) -> None:
    for item, made in zip(items, GOLD, strict=True):
        score = run(item, calls(*made[:-1]))
        n = len(item.gold["subgoals"])
        assert score.values["success"] == 0.0 and score.values["progress"] == pytest.approx((n - 1) / n)
        # every call is grounded, the answer in words is a step without a call: n - 1 of n, as calls = subgoals here
        assert score.values["grounding"] == pytest.approx((len(made) - 1) / len(made))
        assert score.notes["ending"] == "answer" and not score.unparsed


def test_progress_and_grounding_by_hand(items: list[Item]) -> None:
    score = run(
        items[0],  # subgoals: the net loaded, the two neighbours, 2
        calls(
            ("neighbourCheck", {"graph": "AuthorNet", "node": "Ada Kern"}),  # refused: not loaded; no error
            ("loadAuthorNet", {}),  # the first subgoal
            ("loadAuthorNet", {}),  # matches nothing more
            ("neighborhood", {}),  # an error
            ("neighbourCheck", {"graph": "AuthorNet"}),  # an error
            ("finish", {"answer": 2}),  # the third subgoal
        ),
    )
    # 2 of 3 subgoals, finished but not a success; 4 of 6 observations are no errors.
    assert score.values["progress"] == pytest.approx(2 / 3) and score.values["success"] == 0.0
    assert score.values["grounding"] == pytest.approx(4 / 6)
    assert score.notes["errors"] == "2" and score.notes["ending"] == "finished"


def test_all_subgoals_without_finish_are_no_success(items: list[Item]) -> None:
    item = items[0]._replace(gold=items[0].gold | {"subgoals": items[0].gold["subgoals"][:2]})
    score = run(item, calls(*GOLD[0][:2]))
    assert (score.values["progress"], score.values["success"]) == (1.0, 0.0)


def test_nothing_is_executed_after_finish(items: list[Item]) -> None:
    score = run(items[0], lambda turn: calling(GOLD[0][2], GOLD[0][0], GOLD[0][1]))
    assert score.values["progress"] == pytest.approx(1 / 3) and score.notes["errors"] == "2"


def test_an_episode_ends_after_30_turns(items: list[Item]) -> None:
    steps = play(items[0], lambda turn: calling(("loadAuthorNet", {})))
    score = tool_query.score(items[0], steps)
    assert len(steps) == 30 and score.notes["ending"] == "step_limit"
    # one subgoal of three; 30 of 30 observations are no errors
    assert (score.values["progress"], score.values["grounding"]) == (pytest.approx(1 / 3), 1.0)


def test_one_result_serves_one_subgoal() -> None:
    assert matched(["a", "a"], ["a"]) == 1 and matched(["a", "a"], ["a", "b", "a"]) == 2


@pytest.mark.parametrize(
    ("subgoal", "result", "same"),
    [
        (2, 2.0, True),
        (1, True, False),
        ("2", 2, False),
        (["a", "b"], ["b", "a"], False),
        (123.4567890, 123.4567891, True),  # 1e-9 relative
        (123.45, 123.46, False),
        (
            {"latitude": 56.16, "longitude": 10.21, "x": 1},
            {"latitude": 56.4, "longitude": 10.21, "x": 1},
            True,
        ),  # 27 km
        ({"latitude": 56.16, "longitude": 10.21, "x": 1}, {"latitude": 56.7, "longitude": 10.21, "x": 1}, False),  # 60
        ({"latitude": 56.16, "longitude": 10.21, "x": 1}, {"latitude": 56.16, "longitude": 10.21, "x": 2}, False),
        ({"latitude": 1, "longitude": 1}, {"latitude": "x", "longitude": None}, False),
        ({"latitude": 1, "longitude": 1}, {"latitude": 10**400, "longitude": 1}, False),
    ],
)
def test_results_match_by_value_and_places_within_50_km(subgoal: Any, result: Any, same: bool) -> None:
    assert same_result(subgoal, result) is same


def test_a_missing_recording_is_an_error_text_and_counted(items: list[Item]) -> None:
    score = run(items[3], calls(("get_search_movie", {"movie_name": "Another"}), GOLD[3][2]))
    assert score.notes["not_recorded"] == "1" and score.notes["errors"] == "0"
    assert score.values["grounding"] == 0.5  # the error and `finish`
    shown = play(items[3], calls(("get_movie_cast", {"movie_id": "1"})))[-1].dialogue.messages[-1].content
    assert json.loads(shown).startswith("ERROR | ")


# ---- tools


def observe(folder: Path, domain: str, *made: tuple[str, dict[str, Any]]) -> Any:
    """The last observation."""
    setting = {"current_date": "2023-06-15", "current_location": "Aarhus"}
    environment = ToolQueryEnvironment(domain, load_sources(str(folder)), setting)
    return [json.loads(environment.execute(ToolCall("", *call))) for call in made][-1]


def test_academia_tools_answer_with_names_and_refuse_in_words(folder: Path) -> None:
    papers, authors = ("loadPaperNet", {}), ("loadAuthorNet", {})
    cited = ("neighbourCheck", {"graph": "PaperNet", "node": "Soup Graphs"})
    assert observe(folder, "academia", papers, cited) == ["Broth Networks"]
    assert observe(folder, "academia", cited) == "Please load the PaperNet first."
    nobody = ("authorNodeCheck", {"node": "Nobody"})
    assert observe(folder, "academia", authors, nobody) == "There is no node named Nobody in the AuthorNet."
    citing = ("paperEdgeCheck", {"node1": "Broth Networks", "node2": "Soup Graphs"})
    assert observe(folder, "academia", papers, citing) == "There is no edge between Broth Networks and Soup Graphs."
    edge = ("authorEdgeCheck", {"node1": "Cy Marsh", "node2": "Ada Kern"})
    assert observe(folder, "academia", authors, edge) == {"weight": 1, "collaborative_papers": ["Broth Networks"]}


def test_weather_tools_keep_to_the_right_side_of_today(folder: Path) -> None:
    today = RAIN | {"end_date": "2023-06-15"}
    assert observe(folder, "weather", ("get_historical_rain", today)).startswith("Error: start_date")
    assert observe(folder, "weather", ("get_rain_forecast", RAIN)).startswith("Error: start_date")
    long = RAIN | {"start_date": "2023-01-01"}
    assert observe(folder, "weather", ("get_historical_rain", long)).startswith("Error: at most 30 days")
    assert observe(folder, "weather", ("get_historical_rain", RAIN | {"end_date": "soon"})).startswith("ERROR | ")


def test_temperatures_are_shown_and_left_out_of_the_subgoal(folder: Path) -> None:
    environment = ToolQueryEnvironment("weather", load_sources(str(folder)), {"current_date": "2023-06-15"})
    day = {"latitude": "56.16", "longitude": 10.21, "current_date": "2023-06-15"}
    shown = json.loads(environment.execute(ToolCall("", "get_current_temp", day)))
    assert shown["daily"]["temperature_2m_mean"] == [14.0] and "timezone" not in shown
    assert environment.executed[0].subgoal["daily"] == {"time": ["2023-06-15"]}


def test_air_quality_is_that_of_noon_and_has_a_level(folder: Path) -> None:
    day = RAIN | {"start_date": "2023-06-14"}
    shown = observe(folder, "weather", ("get_historical_air_quality_index", day))
    assert shown["daily"] == {"time": ["2023-06-14T12:00"], "european_aqi_pm2_5": [12]}
    levels = [observe(folder, "weather", ("get_air_quality_level", {"air_quality_index": i})) for i in (20, 21, 101)]
    assert levels == ["good", "fair", "extremely poor"]


def test_distances_are_those_of_the_ellipsoid() -> None:
    # Vincenty's own published test line, on another ellipsoid, is no use here; these are WGS-84 by definition: a degree
    # of longitude on the equator is 2 pi a / 360, the way from the equator to a pole 10,001.965729 km.
    assert distance_km(0, 0, 0, 1) == pytest.approx(111.31949079, abs=1e-6)
    assert distance_km(0, 0, 90, 0) == pytest.approx(10001.965729, abs=1e-5)
    assert distance_km(48.0, 2.0, 48.0, 2.0) == 0.0
    assert distance_km(10, 179.5, 10, -179.5) == pytest.approx(distance_km(10, 0, 10, 1))
    with pytest.raises(ValueError, match="opposite"):
        distance_km(0, 0, 0.3, 179.7)


def test_requests_are_the_same_in_any_order_and_hold_no_key() -> None:
    cassette = Cassette({"https://x.org/a?b=2&latitude=52&api_key=secret": {"ok": 1}})
    assert cassette.get("https://x.org/a", {"latitude": 52.0, "b": "2"}) == {"ok": 1}
    assert "secret" not in str(cassette.recordings)
    with pytest.raises(NotRecordedError):
        cassette.get("https://x.org/a", {"b": 3})


def test_every_listed_tool_has_an_implementation(folder: Path) -> None:
    values = {"number": 1, "string": "2023-06-14", "any": 1}
    for domain, tools in TOOLS.items():
        assert [tool["function"]["name"] for tool in tools_of(domain)] == list(tools)
        for name, (_, parameters) in tools.items():
            shown = observe(folder, domain, (name, {key: values[kind] for key, kind in parameters.items()}))
            assert "KeyError" not in str(shown), name


# ---- hostile input


class Hostile:
    def __init__(self, call: Callable[..., Any], *arguments: Any):
        self.reduced = (call, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_raises_and_executes_nothing(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "executed"
    for call in (Hostile(os.system, f"touch {mark}"), Hostile(eval, f"open({str(mark)!r}, 'w')"),
                 Hostile(getattr, "x", "upper"), Hostile(open, str(mark), "w"), Hostile(__import__, "os")):  # fmt: skip
        with pytest.raises(pickle.UnpicklingError):
            loads(pickle.dumps({"graph": call}, protocol))
    assert not mark.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        pickle.dumps({"a": 1})[:-3],
        b"\x80\x04\x8c\x06posix\x8c\x06system\x93.",
        b"\x80\x04\x8c\x17networkx.classes.graph\x8c\x17Graph.__init__.__class__\x93.",  # a dotted name
        b"cnetworkx\nread_gpickle\n.",
        b"\x82\x01.",  # the extension registry
        b"Pid\n.",  # a persistent id
    ],
)
def test_what_is_no_pickle_of_a_graph_raises(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        loads(data)


def test_a_pickle_that_patches_the_graph_class_patches_a_stand_in() -> None:
    networkx = pytest.importorskip("networkx")
    before = networkx.Graph.neighbors
    patch = b"\x80\x04\x8c\x16networkx.classes.graph\x8c\x05Graph\x93N}\x8c\x09neighborsNs\x86b."
    assert loads(patch).neighbors is None
    assert networkx.Graph.neighbors is before


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_graph_reads_the_same_from_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    write_graphs(tmp_path / "raw", protocol)
    graph = load_graph(tmp_path / "raw" / "author_net.pkl")
    assert graph.nodes[2] == {"name": "Cy Marsh", "org": "Kitchen University"}
    assert graph.adjacency[1] == {0: {"weight": 2, "collaborative_papers": [0, 1]}}


@pytest.mark.parametrize(
    "call",
    [
        ("__import__", {"name": "os"}),
        ("neighbourCheck", {"graph": ["AuthorNet"], "node": "x"}),
        ("neighbourCheck", {"graph": "AuthorNet", "node": {"$ref": "file:///etc/passwd"}}),
        ("finish", {"answer": [1, "a", None]}),
        ("finish", {}),
        ("execute", {}),
    ],
)
def test_a_hostile_call_is_a_tool_error(folder: Path, call: tuple[str, dict[str, Any]]) -> None:
    assert observe(folder, "academia", ("loadAuthorNet", {}), call).startswith("ERROR | ")


def test_a_movie_id_reaches_no_other_address(folder: Path) -> None:
    for text in ("77/credits?x=", "../search/movie", "１"):
        shown = observe(folder, "movie", ("get_movie_details", {"movie_id": text}))
        assert shown.startswith("ERROR | ")


def test_numbers_that_are_none_are_tool_errors(folder: Path) -> None:
    for value in ("nan", "1e999", "x", True, None, [1]):
        shown = observe(folder, "weather", ("get_elevation", {"latitude": value, "longitude": 1}))
        assert shown.startswith("ERROR | ValueError"), value


def test_a_turn_that_cannot_be_read_is_unparsed(items: list[Item]) -> None:
    steps = [Step(items[0].dialogue, reply_of('<call>[{"name": </call>', True))]
    score = tool_query.score(items[0], steps)
    assert tool_query.next_request(items[0], steps) is None
    assert set(score.values.values()) == {0.0} and set(score.unparsed) == set(score.values)


# ---- data


def test_questions_without_graphs_or_recordings_are_left_out_and_counted(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES, tmp_path / "tool-query")
    (tmp_path / "tool-query" / "recordings" / "movie.json").unlink()
    loaded = tool_query.load([str(tmp_path)], None)
    assert [item.gold["domain"] for item in loaded.items] == ["weather"]
    assert loaded.left_out == {"no_data_academia": 2, "no_data_movie": 1}


def test_missing_or_broken_data_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"tool-query/test.jsonl.*agentboard.*--data DIR"):
        tool_query.load([str(tmp_path)], None)
    (tmp_path / "test.jsonl").write_text('{"goal": "x"}\n')
    no_list = {"goal": "x", "subgoals": 5, "difficulty": "easy", "additional_info": {"tool": "weather"}}
    for row in ('{"goal": "x"}', json.dumps(no_list)):
        (tmp_path / "test.jsonl").write_text(row + "\n")
        with pytest.raises(EvalError, match=r"test.jsonl:1"):
            tool_query.load([str(tmp_path)], None)
    (tmp_path / "weather.json").write_text("[]")
    with pytest.raises(EvalError, match="request to response"):
        load_cassette(tmp_path / "weather.json")
    raw = tmp_path / "other" / "academia" / "raw"
    write_graphs(raw)
    (raw / "paper_net.pkl").write_bytes(pickle.dumps({"graph": 1}))
    with pytest.raises(EvalError, match=r"academia/raw.*no networkx Graph"):
        load_sources(str(tmp_path / "other"))
