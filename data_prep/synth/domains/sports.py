"""find_team({"home_city": "Porto"}) -> {"team": "Porto Falcons"}. A league of teams and matches."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import (
    Domain,
    Function,
    Kind,
    Param,
    Return,
    State,
    ToolError,
    finds,
    known,
    one_of,
    reads,
)
from data_prep.synth.kinds import EVENT_DATE, INTEGER, TEXT, Names, date_in

ANIMALS = ("Falcons", "Bears", "Sharks", "Wolves", "Tigers")
HOME = Kind("HomeCity", "string", "city", "{}", lambda rng, s: rng.choice(s["names"].cities))
TEAM = Kind("Team", "string", "team", "the {}", one_of("teams"))


def build(rng: Random, names: Names) -> State:
    team_of = {city: f"{city} {rng.choice(ANIMALS)}" for city in names.cities}
    teams = {
        team: {
            "match_date": date_in(rng, names.year),
            "captain": rng.choice(names.people),
            "points": rng.randint(4, 80),
            "opponent": rng.choice([other for other in team_of.values() if other != team]),
        }
        for team in team_of.values()
    }
    return {"team_of": team_of, "teams": teams, "salt": rng.getrandbits(32)}


def head_to_head(state: State, team_a: str, team_b: str) -> dict:
    known(state["teams"], team_a, "team")
    known(state["teams"], team_b, "team")
    if team_a == team_b:
        raise ToolError("both teams are the same")
    rng = Random(f"{state['salt']}{team_a}{team_b}")
    return {"wins_a": rng.randint(0, 20), "wins_b": rng.randint(0, 20)}


FUNCTIONS = (
    Function(
        "find_team", "Find the team of a city.",
        (Param("home_city", HOME, "Home city of the team"),),
        (Return("team", TEAM, ("the team from {home_city}", "the local team of {home_city}")),),
        asks=("find the team from {home_city}", "look up the local team of {home_city}"),
        says=("The team from {home_city} is called {team}.",), run=finds("team_of", "team"),
    ),
    Function(
        "get_next_match", "Get the date of a team's next match.",
        (Param("team", TEAM, "Team name"),),
        (Return("match_date", EVENT_DATE, ("the next match day of {team}",)),),
        asks=("check when {team} play next", "look up the next match day of {team}"),
        says=("The next match of {team} is on {match_date}.",), run=reads("teams", "match_date"),
    ),
    Function(
        "get_captain", "Get the captain of a team.",
        (Param("team", TEAM, "Team name"),),
        (Return("captain", TEXT),),
        asks=("find out who captains {team}", "look up the captain of {team}"),
        says=("The captain of {team} is {captain}.",), run=reads("teams", "captain"),
    ),
    Function(
        "get_points", "Get the points of a team this season.",
        (Param("team", TEAM, "Team name"),),
        (Return("points", INTEGER),),
        asks=("check how many points {team} have", "look up the points of {team} this season"),
        says=("{team} has {points} points this season.",), run=reads("teams", "points"),
    ),
    Function(
        "get_opponent", "Get the opponent in a team's next match.",
        (Param("team", TEAM, "Team name"),),
        (Return("opponent", TEAM, ("the next opponent of {team}",)),),
        asks=("find out who plays against {team} next", "look up the next opponent of {team}"),
        says=("The next opponent of {team} is {opponent}.",), run=reads("teams", "opponent"),
    ),
    Function(
        "head_to_head", "Count the wins between two teams.",
        (Param("team_a", TEAM, "First team"), Param("team_b", TEAM, "Second team")),
        (Return("wins_a", INTEGER), Return("wins_b", INTEGER)),
        asks=("compare the past wins of {team_a} and {team_b}", "get the head-to-head record of {team_a} and {team_b}"),
        says=("{team_a} won {wins_a} times and {team_b} won {wins_b} times.",), run=head_to_head,
    ),
)  # fmt: skip

DOMAIN = Domain("sports", ("I'm following the league.", "The season is getting exciting."), build, FUNCTIONS)
