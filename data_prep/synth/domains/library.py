"""find_book({"author": "Dorothea Quill"}) -> {"book_id": "BK/2071"}. A town library: books, loans, fines."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, known
from data_prep.synth.kinds import CLIENT, DATE, INTEGER, NUMBER, TEXT, Names, date_in

AUTHORS = ("Dorothea Quill", "Amos Vance", "Ingrid Solberg", "Theo Marchetti", "Beatrix Noor", "Caleb Winslow")
AUTHOR = Kind("Author", "string", "author", "{}", lambda rng, s: rng.choice(AUTHORS))
BOOK = Kind("BookId", "string", "book", "book {}", lambda rng, s: rng.choice(list(s["books"])))
LOAN = Kind("LoanId", "string", "loan", "loan {}", lambda rng, s: rng.choice(list(s["loans"])))
CARD = Kind("LibraryCard", "integer", "library card", "library card {}", lambda rng, s: rng.choice(list(s["fines"])))


def build(rng: Random, names: Names) -> State:
    books = {}
    for author, number in zip(AUTHORS, rng.sample(range(1000, 9999), len(AUTHORS)), strict=True):
        books[f"BK/{number}"] = {
            "author": author,
            "shelf": f"{rng.choice('CDEFGH')}{rng.randint(10, 60)}",
            "pages": rng.randint(90, 780),
        }
    cards = rng.sample(range(300000, 400000), len(names.people))
    return {
        "books": books,
        "loans": {f"L{number}": date_in(rng, names.year) for number in rng.sample(range(10000, 50000), 4)},
        "card_of": dict(zip(names.people, cards, strict=True)),
        "fines": {card: rng.randint(2, 80) / 4 for card in cards},
        "year": names.year,
        "rng": rng,
    }


def find_book(state: State, author: str) -> dict:
    known(dict.fromkeys(AUTHORS), author, "author")
    return {"book_id": next(name for name, book in state["books"].items() if book["author"] == author)}


def get_shelf(state: State, book_id: str) -> dict:
    return {"shelf": known(state["books"], book_id, "book")["shelf"]}


def get_page_count(state: State, book_id: str) -> dict:
    return {"pages": known(state["books"], book_id, "book")["pages"]}


def find_library_card(state: State, reader: str) -> dict:
    return {"card_number": known(state["card_of"], reader, "reader")}


def borrow_book(state: State, book_id: str, card_number: int) -> dict:
    known(state["books"], book_id, "book")
    known(state["fines"], card_number, "library card")
    loan_id = f"L{state['rng'].randint(50000, 99999)}"
    state["loans"][loan_id] = date_in(state["rng"], state["year"])
    return {"loan_id": loan_id}


def get_due_date(state: State, loan_id: str) -> dict:
    return {"due_date": known(state["loans"], loan_id, "loan")}


def get_fines(state: State, card_number: int) -> dict:
    return {"fines": known(state["fines"], card_number, "library card")}


FUNCTIONS = (
    Function(
        "find_book", "Find the newest book by an author.",
        (Param("author", AUTHOR, "Name of the author"),),
        (Return("book_id", BOOK, ("the newest book by {author}", "the latest book written by {author}")),),
        asks=("find the newest book by {author}", "look up the latest book written by {author}"),
        says=("The newest book by {author} is {book_id}.",), run=find_book,
    ),
    Function(
        "get_shelf", "Get the shelf where a book stands.",
        (Param("book_id", BOOK, "Book id"),),
        (Return("shelf", TEXT),),
        asks=("tell on which shelf {book_id} stands", "locate the shelf of {book_id}"),
        says=("Book {book_id} stands on shelf {shelf}.",), run=get_shelf,
    ),
    Function(
        "get_page_count", "Get the number of pages of a book.",
        (Param("book_id", BOOK, "Book id"),),
        (Return("pages", INTEGER),),
        asks=("tell how many pages {book_id} has", "look up the page count of {book_id}"),
        says=("Book {book_id} has {pages} pages.",), run=get_page_count,
    ),
    Function(
        "find_library_card", "Find the library card number of a reader.",
        (Param("reader", CLIENT, "Name of the reader"),),
        (Return("card_number", CARD, ("the library card of {reader}",)),),
        asks=("find the library card of {reader}", "look up the library card number of {reader}"),
        says=("The library card of {reader} is number {card_number}.",), run=find_library_card,
    ),
    Function(
        "borrow_book", "Lend a book to the owner of a library card.",
        (Param("book_id", BOOK, "Book id"), Param("card_number", CARD, "Library card number")),
        (Return("loan_id", LOAN, ("a new loan of {book_id} on {card_number}",)),),
        asks=("lend {book_id} out on {card_number}", "borrow {book_id} with {card_number}"),
        says=("Book {book_id} is lent to card {card_number} as loan {loan_id}.",), run=borrow_book,
    ),
    Function(
        "get_due_date", "Get the date a loan is due.",
        (Param("loan_id", LOAN, "Loan id"),),
        (Return("due_date", DATE, ("the due date of {loan_id}",)),),
        asks=("tell when {loan_id} must be returned", "look up the due date of {loan_id}"),
        says=("Loan {loan_id} is due on {due_date}.",), run=get_due_date,
    ),
    Function(
        "get_fines", "Get the unpaid fines on a library card.",
        (Param("card_number", CARD, "Library card number"),),
        (Return("fines", NUMBER),),
        asks=("check the unpaid fines on {card_number}", "tell what fines are open on {card_number}"),
        says=("The unpaid fines on card {card_number} are {fines}.",), run=get_fines,
    ),
)  # fmt: skip

DOMAIN = Domain("library", ("I volunteer at the town library.", "I love reading."), build, FUNCTIONS)
