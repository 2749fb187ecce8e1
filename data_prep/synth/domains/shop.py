"""get_product_price({"product_id": "P-4821"}) -> {"price": 49.95}. An online shop: products, stock, orders."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, ToolError, known
from data_prep.synth.kinds import DATE, INTEGER, NUMBER, PRICE, Names, date_in

CATEGORIES = ("garden", "kitchen", "camping", "office", "cycling", "toys")
PRODUCT = Kind("ProductId", "string", "product", "product {}", lambda rng, s: rng.choice(list(s["products"])))
CATEGORY = Kind("ProductCategory", "string", "category", "{}", lambda rng, s: rng.choice(CATEGORIES))
QUANTITY = Kind("Quantity", "integer", "quantity", "{}", lambda rng, s: rng.randint(2, 9))
ORDER = Kind("OrderId", "string", "order", "order {}", lambda rng, s: rng.choice(list(s["orders"])))


def build(rng: Random, names: Names) -> State:
    products: dict[str, dict] = {}
    for number in rng.sample(range(1000, 9999), 12):
        products[f"P-{number}"] = {
            "category": CATEGORIES[len(products) % len(CATEGORIES)],
            "price": rng.randrange(8, 240) + rng.choice((0.49, 0.95, 0.99)),
            "rating": rng.randint(30, 50) / 10,
            "stock": rng.randint(10, 400),
        }
    orders = {f"ORD{number}": date_in(rng, names.year) for number in rng.sample(range(20000, 90000), 4)}
    return {"products": products, "orders": orders, "year": names.year, "rng": rng}


def find_top_product(state: State, category: str) -> dict:
    of_category = [(p["rating"], name) for name, p in state["products"].items() if p["category"] == category]
    if not of_category:
        raise ToolError(f"no products in {category!r}")
    rating, name = max(of_category)
    return {"product_id": name, "rating": rating}


def get_product_price(state: State, product_id: str) -> dict:
    return {"price": known(state["products"], product_id, "product")["price"]}


def check_stock(state: State, product_id: str) -> dict:
    return {"units": known(state["products"], product_id, "product")["stock"]}


def place_order(state: State, product_id: str, quantity: int) -> dict:
    product = known(state["products"], product_id, "product")
    if product["stock"] < quantity:
        raise ToolError(f"only {product['stock']} of {product_id} left")
    product["stock"] -= quantity
    order_id = f"ORD{state['rng'].randrange(90000, 99999)}"
    state["orders"][order_id] = date_in(state["rng"], state["year"])
    return {"order_id": order_id, "total": round(quantity * product["price"], 2)}


def track_order(state: State, order_id: str) -> dict:
    return {"delivery_date": known(state["orders"], order_id, "order")}


FUNCTIONS = (
    Function(
        "find_top_product", "Find the best-rated product in a category.",
        (Param("category", CATEGORY, "Product category"),),
        (Return("product_id", PRODUCT, ("the best-rated {category} product", "the top product in {category}")),
         Return("rating", NUMBER)),
        asks=("find the best-rated {category} product", "look up the top product in {category}"),
        says=("The best-rated {category} product is {product_id} with a rating of {rating}.",), run=find_top_product,
    ),
    Function(
        "get_product_price", "Get the price of a product.",
        (Param("product_id", PRODUCT, "Product id"),),
        (Return("price", PRICE, ("the price of {product_id}", "the cost of {product_id}")),),
        asks=("look up the price of {product_id}", "find out how much {product_id} costs"),
        says=("Product {product_id} costs {price}.",), run=get_product_price,
    ),
    Function(
        "check_stock", "Check how many units of a product are in stock.",
        (Param("product_id", PRODUCT, "Product id"),),
        (Return("units", INTEGER),),
        asks=("check how many units of {product_id} are in stock", "check the stock of {product_id}"),
        says=("There are {units} units of {product_id} in stock.",), run=check_stock,
    ),
    Function(
        "place_order", "Order a quantity of a product.",
        (Param("product_id", PRODUCT, "Product id"), Param("quantity", QUANTITY, "Number of units")),
        (Return("order_id", ORDER, ("an order for {quantity} units of {product_id}",)),
         Return("total", PRICE, ("the total of an order for {quantity} units of {product_id}",))),
        asks=("order {quantity} units of {product_id}", "place an order for {quantity} units of {product_id}"),
        says=("Order {order_id} for {quantity} units of {product_id} comes to {total}.",), run=place_order,
    ),
    Function(
        "track_order", "Get the delivery date of an order.",
        (Param("order_id", ORDER, "Order id"),),
        (Return("delivery_date", DATE, ("the delivery date of {order_id}", "the day {order_id} arrives")),),
        asks=("find out when {order_id} will be delivered", "look up the delivery date of {order_id}"),
        says=("Order {order_id} will be delivered on {delivery_date}.",), run=track_order,
    ),
)  # fmt: skip

DOMAIN = Domain(
    "shop",
    ("I am restocking my supplies.", "I am shopping online today.", "I run a small store."),
    build,
    FUNCTIONS,
)
