"""The tools of Tool-Query's three domains: names and parameters as published, descriptions in our words.

PARAMETERS["academia"]["neighbourCheck"]    {"graph": "string", "node": "string"}
tools_of("movie")                           the same as JSON-schema functions
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

PERIOD = {"latitude": "number", "longitude": "number", "start_date": "string", "end_date": "string"}
DAY = {"latitude": "number", "longitude": "number", "current_date": "string"}
MOVIE, PERSON = {"movie_id": "string"}, {"person_id": "string"}
FINISH = ("Give the answer and end. The answer is a number, a text or a list, nothing around it.", {"answer": "any"})

TOOLS: dict[str, dict[str, tuple[str, dict[str, str]]]] = {
    "academia": {
        "loadPaperNet": ("Load PaperNet, whose nodes are papers and whose edges are citations.", {}),
        "loadAuthorNet": ("Load AuthorNet, whose nodes are authors and whose edges are collaborations.", {}),
        "neighbourCheck": (
            "List a node's neighbours: the papers that a paper cites, or an author's collaborators.",
            {"graph": "string", "node": "string"},
        ),
        "paperNodeCheck": ("Attributes of a paper: authors, year, venue, citations, keywords.", {"node": "string"}),
        "authorNodeCheck": ("Attributes of an author: name and organisation.", {"node": "string"}),
        "authorEdgeCheck": ("The collaboration of two authors.", {"node1": "string", "node2": "string"}),
        "paperEdgeCheck": ("The citation between two papers.", {"node1": "string", "node2": "string"}),
        "finish": FINISH,
    },
    "weather": {
        "get_user_current_date": ("The user's date.", {}),
        "get_user_current_location": ("The city that the user is in.", {}),
        "get_historical_temp": ("Temperatures of past days.", PERIOD),
        "get_historical_rain": ("Rainfall of past days.", PERIOD),
        "get_historical_snow": ("Snowfall of past days.", PERIOD),
        "get_historical_air_quality_index": ("Air quality index of past days.", PERIOD),
        "get_temp_forecast": ("Temperatures of coming days.", PERIOD),
        "get_rain_forecast": ("Rainfall of coming days.", PERIOD),
        "get_snow_forecast": ("Snowfall of coming days.", PERIOD),
        "get_current_temp": ("Temperatures of the current day.", DAY),
        "get_current_rain": ("Rainfall of the current day.", DAY),
        "get_current_snow": ("Snowfall of the current day.", DAY),
        "get_current_air_quality_index": ("Air quality index of the current day.", DAY),
        "get_air_quality_level": ("The level that an air quality index stands for.", {"air_quality_index": "number"}),
        "get_latitude_longitude": ("Places of a name, with their latitudes and longitudes.", {"name": "string"}),
        "get_elevation": ("Elevation of a place.", {"latitude": "number", "longitude": "number"}),
        "get_distance": (
            "Distance of two places in kilometres.",
            {"latitude1": "number", "longitude1": "number", "latitude2": "number", "longitude2": "number"},
        ),
        "finish": FINISH,
    },
    "movie": {
        "get_search_movie": ("Find a movie by its name: id, title, overview.", {"movie_name": "string"}),
        "get_movie_details": ("Budget, genres, revenue, vote average and release date of a movie.", MOVIE),
        "get_movie_production_companies": ("Companies that produced a movie.", MOVIE),
        "get_movie_production_countries": ("Countries that a movie was produced in.", MOVIE),
        "get_movie_cast": ("The first ten actors of a movie.", MOVIE),
        "get_movie_crew": ("Directors, producers, writers and others of a movie, about ten.", MOVIE),
        "get_movie_keywords": ("Keywords of a movie.", MOVIE),
        "get_movie_alternative_titles": ("Other titles of a movie.", MOVIE),
        "get_movie_translation": ("Descriptions of a movie in other languages.", MOVIE),
        "get_search_person": ("Find a person by name: id and name.", {"person_name": "string"}),
        "get_person_details": ("Biography, birthday and place of birth of a person.", PERSON),
        "get_person_cast": ("The first ten roles of a person.", PERSON),
        "get_person_crew": ("The first ten movies that a person worked on behind the camera.", PERSON),
        "get_person_external_ids": ("A person's ids at other sites.", PERSON),
        "finish": FINISH,
    },
}
PARAMETERS = {domain: {name: parameters for name, (_, parameters) in tools.items()} for domain, tools in TOOLS.items()}
HINTS: dict[str, dict[str, Any]] = {
    "graph": {"enum": ["PaperNet", "AuthorNet"]},
    "start_date": {"description": "YYYY-MM-DD"},
    "end_date": {"description": "YYYY-MM-DD"},
    "current_date": {"description": "YYYY-MM-DD"},
}


@lru_cache
def tools_of(domain: str) -> tuple[dict[str, Any], ...]:
    """The domain's tools in the OpenAI form."""
    return tuple(_tool(name, about, parameters) for name, (about, parameters) in TOOLS[domain].items())


def _tool(name: str, about: str, parameters: dict[str, str]) -> dict[str, Any]:
    properties = {
        parameter: ({} if wanted == "any" else {"type": wanted}) | HINTS.get(parameter, {})
        for parameter, wanted in parameters.items()
    }
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}
