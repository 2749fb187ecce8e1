"""find_movie({"genre": "thriller"}) -> {"movie": "Silent Harbor"}. Films, showtimes and seats."""

from __future__ import annotations

from random import Random

from data_prep.synth.domains.restaurants import CLOCK
from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import AMOUNT, INTEGER, PERSON, TEXT, Names

GENRES = ("thriller", "comedy", "western", "fantasy", "documentary", "romance")
TITLES = ("Silent Harbor", "Paper Moons", "The Last Orchard", "Glass River", "Midnight Atlas", "Copper Sky")
GENRE = Kind("Genre", "string", "genre", "{}", lambda rng, s: rng.choice(GENRES))
MOVIE = Kind("Movie", "string", "movie", '"{}"', one_of("movies"))


def build(rng: Random, names: Names) -> State:
    movies = {
        title: {
            "showtime": f"{rng.randint(13, 22)}:{rng.choice((0, 10, 20, 30, 50)):02d}",
            "director": rng.choice(names.people),
            "ticket_price": rng.randint(14, 36) / 2,
            "runtime_minutes": rng.randint(84, 171),
        }
        for title in TITLES
    }
    return {"movies": movies, "movie_of": dict(zip(GENRES, rng.sample(TITLES, len(TITLES)), strict=True)), "rng": rng}


def book_cinema_seat(state: State, movie: str, showtime: str) -> dict:
    known(state["movies"], movie, "movie")
    return {"seat": f"{state['rng'].choice('ABCDEFGH')}{state['rng'].randint(1, 24)}"}


FUNCTIONS = (
    Function(
        "find_movie", "Find the movie of a genre that is on now.",
        (Param("genre", GENRE, "Movie genre"),),
        (Return("movie", MOVIE, ("the {genre} that is on now", "the current {genre} movie")),),
        asks=("find the {genre} that is on now", "look up the current {genre} movie"),
        says=('The {genre} that is on now is "{movie}".',), run=finds("movie_of", "movie"),
    ),
    Function(
        "get_showtime", "Get the time a movie starts.",
        (Param("movie", MOVIE, "Movie title"),),
        (Return("showtime", CLOCK, ("the showtime of {movie}", "the start of {movie}")),),
        asks=("check what time {movie} starts", "look up the showtime of {movie}"),
        says=('"{movie}" starts at {showtime}.',), run=reads("movies", "showtime"),
    ),
    Function(
        "get_director", "Get the director of a movie.",
        (Param("movie", MOVIE, "Movie title"),),
        (Return("director", PERSON, ("the director of {movie}",)),),
        asks=("find out who directed {movie}", "look up the director of {movie}"),
        says=('"{movie}" was directed by {director}.',), run=reads("movies", "director"),
    ),
    Function(
        "get_ticket_price", "Get the ticket price of a movie.",
        (Param("movie", MOVIE, "Movie title"),),
        (Return("ticket_price", AMOUNT, ("the price of a ticket for {movie}",)),),
        asks=("check the ticket price for {movie}", "find out how much a ticket for {movie} is"),
        says=('A ticket for "{movie}" costs {ticket_price}.',), run=reads("movies", "ticket_price"),
    ),
    Function(
        "get_runtime", "Get the length of a movie in minutes.",
        (Param("movie", MOVIE, "Movie title"),),
        (Return("runtime_minutes", INTEGER),),
        asks=("find out how long {movie} runs", "check the length of {movie}"),
        says=('"{movie}" runs for {runtime_minutes} minutes.',), run=reads("movies", "runtime_minutes"),
    ),
    Function(
        "book_cinema_seat", "Book a cinema seat for a movie at a time.",
        (Param("movie", MOVIE, "Movie title"), Param("showtime", CLOCK, "Start time as HH:MM")),
        (Return("seat", TEXT),),
        asks=("book a seat for {movie} at {showtime}", "get me a seat for {movie} at {showtime}"),
        says=('Seat {seat} for "{movie}" at {showtime} is booked.',), run=book_cinema_seat,
    ),
)  # fmt: skip

DOMAIN = Domain("cinema", ("It's movie night.", "We want to go to the pictures."), build, FUNCTIONS)
