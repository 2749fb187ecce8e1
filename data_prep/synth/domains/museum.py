"""find_exhibit({"theme": "ancient maps"}) -> {"exhibit": "Lines of the World"}. Exhibits, guides, tours."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import EVENT_DATE, INTEGER, TEXT, Names, date_in

THEMES = ("ancient maps", "deep sea life", "medieval armour", "early computers", "desert nomads")
EXHIBITS = ("Lines of the World", "Below the Waves", "Steel and Honour", "Thinking Machines", "Sand Roads")
TONGUES = ("French", "Polish", "Japanese", "Dutch")
THEME = Kind("ExhibitTheme", "string", "theme", "{}", lambda rng, s: rng.choice(THEMES))
EXHIBIT = Kind("Exhibit", "string", "exhibit", 'the exhibit "{}"', one_of("exhibits"))
TONGUE = Kind("GuideLanguage", "string", "language", "{}", lambda rng, s: rng.choice(TONGUES))
GUIDE = Kind("GuideId", "string", "guide", "guide {}", one_of("guides"))


def build(rng: Random, names: Names) -> State:
    exhibits = {
        exhibit: {
            "closing_date": date_in(rng, names.year),
            "hall": f"{rng.choice(('East', 'West', 'North', 'South'))} Wing {rng.randint(1, 9)}",
            "objects": rng.randint(20, 600),
        }
        for exhibit in EXHIBITS
    }
    guides = {f"gd{number}": rng.choice(names.people) for number in rng.sample(range(100, 999), len(TONGUES))}
    return {
        "exhibits": exhibits,
        "exhibit_on": dict(zip(THEMES, EXHIBITS, strict=True)),
        "guides": guides,
        "guide_for": dict(zip(TONGUES, guides, strict=True)),
        "rng": rng,
    }


def book_tour(state: State, exhibit: str, guide_id: str) -> dict:
    known(state["exhibits"], exhibit, "exhibit")
    known(state["guides"], guide_id, "guide")
    return {"tour_no": f"T{state['rng'].randint(100, 999)}", "group_size": state["rng"].randint(6, 25)}


def invite_visitors(state: State, exhibit: str, visit_date: str) -> dict:
    known(state["exhibits"], exhibit, "exhibit")
    return {"invitation": f"INV{state['rng'].randint(1000, 9999)}"}


FUNCTIONS = (
    Function(
        "find_exhibit", "Find the museum exhibit on a theme.",
        (Param("theme", THEME, "Theme of the exhibit"),),
        (Return("exhibit", EXHIBIT, ("the exhibit on {theme}", "the museum's show about {theme}")),),
        asks=("find the exhibit on {theme}", "identify the museum's show about {theme}"),
        says=('The exhibit on {theme} is "{exhibit}".',), run=finds("exhibit_on", "exhibit"),
    ),
    Function(
        "get_hall", "Get the hall where an exhibit is shown.",
        (Param("exhibit", EXHIBIT, "Title of the exhibit"),),
        (Return("hall", TEXT),),
        asks=("see in which hall {exhibit} is shown", "name the hall of {exhibit}"),
        says=('"{exhibit}" is shown in {hall}.',), run=reads("exhibits", "hall"),
    ),
    Function(
        "get_closing_date", "Get the last day of an exhibit.",
        (Param("exhibit", EXHIBIT, "Title of the exhibit"),),
        (Return("closing_date", EVENT_DATE, ("the last day of {exhibit}",)),),
        asks=("see when {exhibit} closes", "determine the last day of {exhibit}"),
        says=('"{exhibit}" closes on {closing_date}.',), run=reads("exhibits", "closing_date"),
    ),
    Function(
        "count_objects", "Count the objects in an exhibit.",
        (Param("exhibit", EXHIBIT, "Title of the exhibit"),),
        (Return("objects", INTEGER),),
        asks=("count the objects in {exhibit}", "see how many objects {exhibit} contains"),
        says=('"{exhibit}" contains {objects} objects.',), run=reads("exhibits", "objects"),
    ),
    Function(
        "find_guide", "Find a museum guide who speaks a language.",
        (Param("spoken_language", TONGUE, "Language of the guide"),),
        (Return("guide_id", GUIDE, ("a guide who speaks {spoken_language}", "the {spoken_language} guide")),),
        asks=("find a guide who speaks {spoken_language}", "identify the {spoken_language} guide"),
        says=("The guide who speaks {spoken_language} is {guide_id}.",), run=finds("guide_for", "guide_id"),
    ),
    Function(
        "get_guide_name", "Get the name of a museum guide.",
        (Param("guide_id", GUIDE, "Guide id"),),
        (Return("guide_name", TEXT),),
        asks=("see what {guide_id} is called", "determine the name of {guide_id}"),
        says=("The name of guide {guide_id} is {guide_name}.",), run=finds("guides", "guide_name"),
    ),
    Function(
        "book_tour", "Book a tour of an exhibit with a guide.",
        (Param("exhibit", EXHIBIT, "Title of the exhibit"), Param("guide_id", GUIDE, "Guide id")),
        (Return("tour_no", TEXT), Return("group_size", INTEGER)),
        asks=("book a tour of {exhibit} with {guide_id}", "organise a tour of {exhibit} led by {guide_id}"),
        says=('Tour {tour_no} of "{exhibit}" with {guide_id} is for {group_size} people.',), run=book_tour,
    ),
    Function(
        "invite_visitors", "Send invitations to an exhibit for a day.",
        (Param("exhibit", EXHIBIT, "Title of the exhibit"), Param("visit_date", EVENT_DATE, "Date as YYYY-MM-DD")),
        (Return("invitation", TEXT),),
        asks=("send out invitations to {exhibit} for {visit_date}", "invite visitors to {exhibit} on {visit_date}"),
        says=('Invitation {invitation} to "{exhibit}" is for {visit_date}.',), run=invite_visitors,
    ),
)  # fmt: skip

DOMAIN = Domain("museum", ("Culture is on my agenda.", "I organise outings for a history club."), build, FUNCTIONS)
