# ruff: noqa: E501, FBT003 - a row is a line, however long: as a table it can be read
"""What pipelines make, case by case: the stages, the documents, and what comes out of them.

The documents and the expected values are those of MongoDB's manual, stage by stage, where it has an example, and of its
documented rules elsewhere; `docs/reference/aggregation.md` lists where this store differs on purpose.
"""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]
Row = tuple[list[Document], list[Document], list[Document]]

# fmt: off
SALES: list[Document] = [
    {"_id": 1, "item": "abc", "price": 10, "quantity": 2, "date": "2014-03-01"},
    {"_id": 2, "item": "jkl", "price": 20, "quantity": 1, "date": "2014-03-01"},
    {"_id": 3, "item": "xyz", "price": 5, "quantity": 10, "date": "2014-03-15"},
    {"_id": 4, "item": "xyz", "price": 5, "quantity": 20, "date": "2014-04-04"},
    {"_id": 5, "item": "abc", "price": 10, "quantity": 10, "date": "2014-04-04"},
    {"_id": 6, "item": "def", "price": 7.5, "quantity": 5, "date": "2015-06-04"},
    {"_id": 7, "item": "def", "price": 7.5, "quantity": 10, "date": "2015-09-10"},
    {"_id": 8, "item": "abc", "price": 10, "quantity": 5, "date": "2016-02-06"},
]
BOOKS: list[Document] = [
    {"_id": 8751, "title": "The Banquet", "author": "Dante", "copies": 2},
    {"_id": 8752, "title": "Divine Comedy", "author": "Dante", "copies": 1},
    {"_id": 8645, "title": "Eclogues", "author": "Dante", "copies": 2},
    {"_id": 7000, "title": "The Odyssey", "author": "Homer", "copies": 10},
    {"_id": 7020, "title": "Iliad", "author": "Homer", "copies": 10},
]
ARTISTS: list[Document] = [
    {"_id": 1, "last": "Bernard", "born": 1868}, {"_id": 2, "last": "Rippl-Ronai", "born": 1861},
    {"_id": 3, "last": "Ostroumova", "born": 1871}, {"_id": 4, "last": "Van Gogh", "born": 1853},
    {"_id": 5, "last": "Maurer", "born": 1868}, {"_id": 6, "last": "Ivanov", "born": None}, {"_id": 7, "last": "X"},
]
CLOTHES: list[Document] = [
    {"_id": 1, "item": "Shirt", "sizes": ["S", "M", "L"]},
    {"_id": 2, "item": "Shorts", "sizes": []},
    {"_id": 3, "item": "Hat", "sizes": "M"},
    {"_id": 4, "item": "Gloves"},
    {"_id": 5, "item": "Scarf", "sizes": None},
]
NESTED: list[Document] = [{"_id": 1, "a": {"x": 1, "y": 2}, "l": [{"x": 1, "y": 2}, 5, [{"x": 3}]], "s": "t"}]
SCORES: list[Document] = [
    {"_id": 1, "student": "Maya", "homework": [10, 5, 10], "quiz": [10, 8], "extra": 0},
    {"_id": 2, "student": "Ryan", "homework": [5, 6, 5], "quiz": [8, 8], "extra": 8},
]
PLAYERS: list[Document] = [
    {"_id": 1, "game": "G1", "score": 31}, {"_id": 2, "game": "G1", "score": 33}, {"_id": 3, "game": "G1", "score": 99},
    {"_id": 4, "game": "G1", "score": 1}, {"_id": 5, "game": "G2", "score": 10}, {"_id": 6, "game": "G2", "score": None}, {"_id": 7, "game": "G2"},
]


def numbers(*values: Any) -> list[Document]:
    return [{"_id": at, "n": value} for at, value in enumerate(values)]


MATCH: list[Row] = [
    ([], numbers(1, 2), numbers(1, 2)),
    ([{"$match": {"item": "xyz", "quantity": {"$gt": 10}}}], SALES, [SALES[3]]),
    ([{"$match": {"$expr": {"$gt": ["$price", "$quantity"]}}}, {"$project": {"_id": 1}}], SALES, [{"_id": 1}, {"_id": 2}, {"_id": 6}, {"_id": 8}]),
    ([{"$match": {"price": 10}}, {"$match": {"quantity": 10}}], SALES, [SALES[4]]),
    ([{"$project": {"m": {"$substrCP": ["$date", 5, 2]}}}, {"$match": {"m": "04"}}], SALES, [{"_id": 4, "m": "04"}, {"_id": 5, "m": "04"}]),
    ([{"$skip": 6}, {"$match": {"item": "abc"}}], SALES, [SALES[7]]),
]

PROJECT: list[Row] = [
    ([{"$project": {"title": 1, "author": 1}}], BOOKS[:1], [{"_id": 8751, "title": "The Banquet", "author": "Dante"}]),
    ([{"$project": {"_id": 0, "title": 1}}], BOOKS[:1], [{"title": "The Banquet"}]),
    ([{"$project": {"copies": 0, "author": False}}], BOOKS[:1], [{"_id": 8751, "title": "The Banquet"}]),
    ([{"$project": {"_id": 0}}], numbers(1), [{"n": 1}]),
    ([{"$project": {"_id": 1}}], numbers(1), [{"_id": 0}]),
    ([{"$project": {"_id": "$n"}}], numbers(7), [{"_id": 7}]),
    ([{"$project": {"n": 0, "_id": 0}}], numbers(7), [{}]),
    ([{"$project": {"n": 0, "_id": 1}}], numbers(7), [{"_id": 0}]),
    ([{"$project": {"_id": 0, "x": "$n"}}], numbers(7), [{"x": 7}]),
    ([{"$project": {"a.x": 1}}], NESTED, [{"_id": 1, "a": {"x": 1}}]),
    ([{"$project": {"a": {"x": 1}}}], NESTED, [{"_id": 1, "a": {"x": 1}}]),
    ([{"$project": {"a.x": 0, "l": 0, "s": 0}}], NESTED, [{"_id": 1, "a": {"y": 2}}]),
    ([{"$project": {"l.x": 1}}], NESTED, [{"_id": 1, "l": [{"x": 1}, [{"x": 3}]]}]),
    ([{"$project": {"l.x": 0, "a": 0, "s": 0}}], NESTED, [{"_id": 1, "l": [{"y": 2}, 5, [{}]]}]),
    ([{"$project": {"s.x": 1}}], NESTED, [{"_id": 1}]),
    ([{"$project": {"s.x": "$a.y"}}], NESTED, [{"_id": 1, "s": {"x": 2}}]),
    ([{"$project": {"l.z": "$s"}}], NESTED, [{"_id": 1, "l": [{"z": "t"}, {"z": "t"}, [{"z": "t"}]]}]),
    ([{"$project": {"new.deep": {"$add": ["$a.x", 1]}}}], NESTED, [{"_id": 1, "new": {"deep": 2}}]),
    ([{"$project": {"s": 1, "both": ["$a.x", "$none"]}}], NESTED, [{"_id": 1, "s": "t", "both": [1, None]}]),
    ([{"$project": {"none": "$none", "gone": "$$REMOVE"}}], NESTED, [{"_id": 1}]),
    ([{"$project": {"year": {"$literal": 1}}}], numbers(1), [{"_id": 0, "year": 1}]),
    ([{"$project": {"n": {"$cond": [{"$eq": ["$n", 1]}, "$$REMOVE", "$n"]}}}], numbers(1, 2), [{"_id": 0}, {"_id": 1, "n": 2}]),
    ([{"$project": {"x": "$$ROOT"}}], numbers(1), [{"_id": 0, "x": {"_id": 0, "n": 1}}]),
    ([{"$project": {"s": 1, "a": 1}}], NESTED, [{"_id": 1, "a": {"x": 1, "y": 2}, "s": "t"}]),
    ([{"$project": {"obj": {"p": "$s", "q": {"$size": "$l"}}}}], NESTED, [{"_id": 1, "obj": {"p": "t", "q": 3}}]),
    ([{"$unset": "copies"}], BOOKS[:1], [{"_id": 8751, "title": "The Banquet", "author": "Dante"}]),
    ([{"$unset": ["a.x", "l.y", "s"]}], NESTED, [{"_id": 1, "a": {"y": 2}, "l": [{"x": 1}, 5, [{"x": 3}]]}]),
]

ADD: list[Row] = [
    (
        [{"$addFields": {"totalHomework": {"$sum": "$homework"}, "totalQuiz": {"$sum": "$quiz"}}}, {"$addFields": {"totalScore": {"$add": ["$totalHomework", "$totalQuiz", "$extra"]}}}],
        SCORES,
        [{**SCORES[0], "totalHomework": 25, "totalQuiz": 18, "totalScore": 43}, {**SCORES[1], "totalHomework": 16, "totalQuiz": 16, "totalScore": 40}],
    ),
    ([{"$set": {"n": 5}}], numbers(1), numbers(5)),
    ([{"$set": {"n": "$_id", "_id": "$n"}}], numbers(7), [{"_id": 7, "n": 0}]),
    ([{"$set": {"a.z": 3}}], NESTED, [{**NESTED[0], "a": {"x": 1, "y": 2, "z": 3}}]),
    ([{"$set": {"a": {"x": 9}}}], NESTED, [{**NESTED[0], "a": {"x": 9, "y": 2}}]),
    ([{"$set": {"s.z": 3}}], NESTED, [{**NESTED[0], "s": {"z": 3}}]),
    ([{"$set": {"l.z": 3}}, {"$project": {"l": 1}}], NESTED, [{"_id": 1, "l": [{"x": 1, "y": 2, "z": 3}, {"z": 3}, [{"x": 3, "z": 3}]]}]),
    ([{"$set": {"b.c.d": "$s"}}, {"$project": {"b": 1}}], NESTED, [{"_id": 1, "b": {"c": {"d": "t"}}}]),
    ([{"$set": {"n": "$none"}}], numbers(1), [{"_id": 0}]),
    ([{"$set": {"homework": {"$concatArrays": ["$homework", [7]]}}}, {"$project": {"homework": 1}}, {"$limit": 1}], SCORES, [{"_id": 1, "homework": [10, 5, 10, 7]}]),
    ([{"$addFields": {"x": {}}}], numbers(1), [{"_id": 0, "n": 1, "x": {}}]),
    ([{"$replaceRoot": {"newRoot": "$a"}}], NESTED, [{"x": 1, "y": 2}]),
    ([{"$replaceRoot": {"newRoot": {"$mergeObjects": [{"_id": "$_id", "z": 0}, "$a"]}}}], NESTED, [{"_id": 1, "z": 0, "x": 1, "y": 2}]),
    ([{"$replaceWith": {"t": "$s"}}], NESTED, [{"t": "t"}]),
    ([{"$replaceWith": {"$arrayToObject": [[["k", "$s"]]]}}], NESTED, [{"k": "t"}]),
]

GROUP: list[Row] = [
    ([{"$group": {"_id": None, "count": {"$count": {}}}}], SALES, [{"_id": None, "count": 8}]),
    ([{"$group": {"_id": "$item"}}], SALES, [{"_id": "abc"}, {"_id": "jkl"}, {"_id": "xyz"}, {"_id": "def"}]),
    (
        [{"$group": {"_id": "$item", "totalSaleAmount": {"$sum": {"$multiply": ["$price", "$quantity"]}}}}, {"$match": {"totalSaleAmount": {"$gte": 100}}}],
        SALES,
        [{"_id": "abc", "totalSaleAmount": 170}, {"_id": "xyz", "totalSaleAmount": 150}, {"_id": "def", "totalSaleAmount": 112.5}],
    ),
    (
        [{"$match": {"date": {"$gte": "2014-01-01", "$lt": "2015-01-01"}}}, {"$group": {"_id": "$date", "total": {"$sum": {"$multiply": ["$price", "$quantity"]}}, "average": {"$avg": "$quantity"}, "count": {"$sum": 1}}}, {"$sort": {"total": -1}}],
        SALES,
        [{"_id": "2014-04-04", "total": 200, "average": 15.0, "count": 2}, {"_id": "2014-03-15", "total": 50, "average": 10.0, "count": 1}, {"_id": "2014-03-01", "total": 40, "average": 1.5, "count": 2}],
    ),
    ([{"$group": {"_id": "$author", "books": {"$push": "$title"}}}], BOOKS, [{"_id": "Dante", "books": ["The Banquet", "Divine Comedy", "Eclogues"]}, {"_id": "Homer", "books": ["The Odyssey", "Iliad"]}]),
    (
        [{"$group": {"_id": "$author", "books": {"$push": "$$ROOT"}}}, {"$addFields": {"total": {"$sum": "$books.copies"}}}],
        BOOKS,
        [{"_id": "Dante", "books": BOOKS[:3], "total": 5}, {"_id": "Homer", "books": BOOKS[3:], "total": 20}],
    ),
    ([{"$group": {"_id": {"d": {"$substrCP": ["$date", 0, 4]}, "i": "$item"}, "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}, {"$limit": 2}], SALES, [{"_id": {"d": "2014", "i": "abc"}, "n": 2}, {"_id": {"d": "2014", "i": "jkl"}, "n": 1}]),
    ([{"$group": {"_id": "$item", "sets": {"$addToSet": "$quantity"}}}, {"$match": {"_id": "abc"}}], [*SALES, SALES[0]], [{"_id": "abc", "sets": [2, 10, 5]}]),
    ([{"$group": {"_id": None, "min": {"$min": "$price"}, "max": {"$max": "$price"}, "first": {"$first": "$item"}, "last": {"$last": "$item"}}}], SALES, [{"_id": None, "min": 5, "max": 20, "first": "abc", "last": "abc"}]),
    ([{"$group": {"_id": "$n", "c": {"$sum": 1}}}], numbers(1, 1.0, "1", None, True), [{"_id": 1, "c": 2}, {"_id": "1", "c": 1}, {"_id": None, "c": 1}, {"_id": True, "c": 1}]),
    ([{"$group": {"_id": "$n", "c": {"$sum": 1}}}], [{"_id": 1}, {"_id": 2, "n": None}], [{"_id": None, "c": 2}]),
    ([{"$group": {"_id": {"x": "$n"}, "c": {"$sum": 1}}}], [{"_id": 1}, {"_id": 2, "n": None}], [{"_id": {}, "c": 1}, {"_id": {"x": None}, "c": 1}]),
    ([{"$group": {"_id": "$n", "c": {"$sum": 1}}}], numbers([1, 2], [1, 2.0], [2, 1]), [{"_id": [1, 2], "c": 2}, {"_id": [2, 1], "c": 1}]),
    ([{"$group": {"_id": None, "s": {"$sum": "$n"}, "a": {"$avg": "$n"}}}], numbers(1, "x", None, True, 2), [{"_id": None, "s": 3, "a": 1.5}]),
    ([{"$group": {"_id": None, "s": {"$sum": "$x"}, "a": {"$avg": "$x"}, "m": {"$max": "$x"}, "p": {"$push": "$x"}, "f": {"$first": "$x"}}}], numbers(1), [{"_id": None, "s": 0, "a": None, "m": None, "p": [], "f": None}]),
    ([{"$group": {"_id": None, "s": {"$sum": "$n"}}}], numbers(0.1, 0.2, 0.3), [{"_id": None, "s": 0.6}]),
    ([{"$group": {"_id": None, "s": {"$sum": "$n"}}}], numbers((1 << 63) - 1, 1), [{"_id": None, "s": 1 << 63}]),
    ([{"$group": {"_id": None, "s": {"$sum": "$n"}}}], numbers([1, 2], 3), [{"_id": None, "s": 3}]),
    ([{"$group": {"_id": None, "m": {"$max": "$n"}, "l": {"$min": "$n"}}}], numbers(1, "a", [0], None, {"x": 1}), [{"_id": None, "m": [0], "l": 1}]),
    ([{"$group": {"_id": "$game", "top": {"$maxN": {"input": "$score", "n": 2}}, "low": {"$minN": {"input": "$score", "n": 2}}}}], PLAYERS, [{"_id": "G1", "top": [99, 33], "low": [1, 31]}, {"_id": "G2", "top": [10], "low": [10]}]),
    ([{"$group": {"_id": "$game", "first": {"$firstN": {"input": "$score", "n": 2}}, "last": {"$lastN": {"input": "$score", "n": 2}}}}], PLAYERS, [{"_id": "G1", "first": [31, 33], "last": [99, 1]}, {"_id": "G2", "first": [10, None], "last": [None, None]}]),
    ([{"$group": {"_id": "$n.k", "m": {"$mergeObjects": "$n"}}}], numbers({"k": 1, "a": 1}, {"k": 1, "b": 2}, {"k": 1, "a": 3}), [{"_id": 1, "m": {"k": 1, "a": 3, "b": 2}}]),
    ([{"$group": {"_id": None, "p": {"$stdDevPop": "$n"}, "s": {"$stdDevSamp": "$n"}}}], numbers(2, 4, 4, 4, 5, 5, 7, 9), [{"_id": None, "p": 2.0, "s": 2.138089935299395}]),
    ([{"$group": {"_id": None, "s": {"$stdDevSamp": "$n"}}}], numbers(2), [{"_id": None, "s": None}]),
    ([{"$group": {"_id": None, "n": {"$sum": 1}}}], [], []),
    ([{"$group": {"_id": {"$gt": ["$n", 1]}, "n": {"$push": "$n"}}}], numbers(1, 2, 3), [{"_id": False, "n": [1]}, {"_id": True, "n": [2, 3]}]),
    ([{"$count": "n"}], SALES, [{"n": 8}]),
    ([{"$match": {"item": "none"}}, {"$count": "n"}], SALES, []),
    ([{"$sortByCount": "$item"}], SALES, [{"_id": "abc", "count": 3}, {"_id": "xyz", "count": 2}, {"_id": "def", "count": 2}, {"_id": "jkl", "count": 1}]),
    ([{"$unwind": "$sizes"}, {"$sortByCount": "$sizes"}], CLOTHES, [{"_id": "M", "count": 2}, {"_id": "S", "count": 1}, {"_id": "L", "count": 1}]),
    ([{"$sortByCount": {"$mod": ["$n", 2]}}], numbers(1, 2, 3), [{"_id": 1, "count": 2}, {"_id": 0, "count": 1}]),
    (
        [{"$bucket": {"groupBy": "$born", "boundaries": [1840, 1850, 1860, 1870, 1880], "default": "Other", "output": {"count": {"$sum": 1}, "artists": {"$push": "$last"}}}}],
        ARTISTS,
        [{"_id": 1850, "count": 1, "artists": ["Van Gogh"]}, {"_id": 1860, "count": 3, "artists": ["Bernard", "Rippl-Ronai", "Maurer"]}, {"_id": 1870, "count": 1, "artists": ["Ostroumova"]}, {"_id": "Other", "count": 2, "artists": ["Ivanov", "X"]}],
    ),
    ([{"$bucket": {"groupBy": "$n", "boundaries": [0, 5, 10]}}], numbers(0, 4.9, 5, 9), [{"_id": 0, "count": 2}, {"_id": 5, "count": 2}]),
    ([{"$bucket": {"groupBy": "$n", "boundaries": ["a", "m", "z"], "default": 0}}], numbers("b", "m", "z", 5, [1]), [{"_id": 0, "count": 3}, {"_id": "a", "count": 1}, {"_id": "m", "count": 1}]),
]

ORDER: list[Row] = [
    ([{"$sort": {"quantity": -1, "_id": 1}}, {"$limit": 3}, {"$project": {"quantity": 1}}], SALES, [{"_id": 4, "quantity": 20}, {"_id": 3, "quantity": 10}, {"_id": 5, "quantity": 10}]),
    ([{"$sort": {"item": 1}}, {"$skip": 3}, {"$limit": 2}, {"$project": {"item": 1}}], SALES, [{"_id": 6, "item": "def"}, {"_id": 7, "item": "def"}]),
    ([{"$sort": {"n": 1}}], numbers(True, "a", 1, None, [5], {"x": 1}), [{"_id": 3, "n": None}, {"_id": 2, "n": 1}, {"_id": 4, "n": [5]}, {"_id": 1, "n": "a"}, {"_id": 5, "n": {"x": 1}}, {"_id": 0, "n": True}]),
    ([{"$sort": {"n": -1}}, {"$project": {"_id": 1}}], numbers([1, 9], 5, [], None), [{"_id": 0}, {"_id": 1}, {"_id": 3}, {"_id": 2}]),
    ([{"$sort": {"a.b": 1}}, {"$project": {"_id": 1}}], [{"_id": 1, "a": [{"b": 5}, {"b": 9}]}, {"_id": 2, "a": {"b": 7}}, {"_id": 3}], [{"_id": 3}, {"_id": 1}, {"_id": 2}]),
    ([{"$limit": 2}], numbers(1, 2, 3), numbers(1, 2)),
    ([{"$skip": 2}], numbers(1, 2, 3), [{"_id": 2, "n": 3}]),
    ([{"$skip": 5}], numbers(1, 2, 3), []),
    ([{"$limit": 5}, {"$skip": 2.0}], numbers(1, 2, 3), [{"_id": 2, "n": 3}]),
    ([{"$sort": {"n": 1}}, {"$limit": 2}, {"$sort": {"n": -1}}], numbers(3, 1, 2), [{"_id": 2, "n": 2}, {"_id": 1, "n": 1}]),
]

UNWIND: list[Row] = [
    ([{"$unwind": "$sizes"}, {"$project": {"sizes": 1}}], CLOTHES, [{"_id": 1, "sizes": "S"}, {"_id": 1, "sizes": "M"}, {"_id": 1, "sizes": "L"}, {"_id": 3, "sizes": "M"}]),
    ([{"$unwind": {"path": "$sizes", "preserveNullAndEmptyArrays": True}}, {"$match": {"_id": {"$gt": 1}}}, {"$unset": "item"}], CLOTHES, [{"_id": 2}, {"_id": 3, "sizes": "M"}, {"_id": 4}, {"_id": 5, "sizes": None}]),
    ([{"$unwind": {"path": "$sizes", "includeArrayIndex": "at"}}, {"$unset": "item"}], CLOTHES, [{"_id": 1, "sizes": "S", "at": 0}, {"_id": 1, "sizes": "M", "at": 1}, {"_id": 1, "sizes": "L", "at": 2}, {"_id": 3, "sizes": "M", "at": None}]),
    ([{"$unwind": "$a.b"}], [{"_id": 1, "a": {"b": [1, 2], "c": 3}}], [{"_id": 1, "a": {"b": 1, "c": 3}}, {"_id": 1, "a": {"b": 2, "c": 3}}]),
    ([{"$unwind": "$a.b"}], [{"_id": 1, "a": [{"b": [1]}]}], []),
    ([{"$unwind": "$n"}, {"$unwind": "$n"}], numbers([[1, 2], [3]]), [{"_id": 0, "n": 1}, {"_id": 0, "n": 2}, {"_id": 0, "n": 3}]),
    ([{"$unwind": "$n"}], numbers([None, {}]), [{"_id": 0, "n": None}, {"_id": 0, "n": {}}]),
    ([{"$unwind": "$n"}, {"$group": {"_id": "$_id", "s": {"$sum": "$n"}}}], numbers([1, 2], [3]), [{"_id": 0, "s": 3}, {"_id": 1, "s": 3}]),
]

FACET: list[Row] = [
    (
        [{"$facet": {"items": [{"$sortByCount": "$item"}, {"$limit": 1}], "prices": [{"$bucket": {"groupBy": "$price", "boundaries": [0, 8, 15], "default": "dear"}}], "n": [{"$count": "n"}], "none": [{"$match": {"item": 0}}]}}],
        SALES,
        [{"items": [{"_id": "abc", "count": 3}], "prices": [{"_id": 0, "count": 4}, {"_id": 8, "count": 3}, {"_id": "dear", "count": 1}], "n": [{"n": 8}], "none": []}],
    ),
    ([{"$facet": {"a": [{"$limit": 1}], "b": [{"$skip": 2}]}}], numbers(1, 2, 3), [{"a": [{"_id": 0, "n": 1}], "b": [{"_id": 2, "n": 3}]}]),
    ([{"$facet": {"a": []}}], [], [{"a": []}]),
    ([{"$facet": {"a": [{"$count": "n"}], "b": [{"$sort": {"n": -1}}, {"$limit": 1}]}}, {"$project": {"n": {"$first": "$a.n"}, "top": {"$first": "$b.n"}}}], numbers(5, 9, 7), [{"n": 3, "top": 9}]),
    ([{"$facet": {"a": [{"$unwind": "$n"}, {"$group": {"_id": None, "s": {"$sum": "$n"}}}]}}, {"$unwind": "$a"}, {"$replaceWith": "$a"}], numbers([1, 2], [3]), [{"_id": None, "s": 6}]),
]

INVENTORY: list[Document] = [
    {"_id": 1, "sku": "almonds", "instock": 120}, {"_id": 2, "sku": "bread", "instock": 80}, {"_id": 3, "sku": "cashews", "instock": 60},
    {"_id": 4, "sku": "pecans", "instock": 70}, {"_id": 5, "sku": None}, {"_id": 6}, {"_id": 7, "sku": ["bread", "butter"]},
]
"""The other collection of the joins."""

JOIN: list[Row] = [
    (
        [{"$lookup": {"from": "inventory", "localField": "item", "foreignField": "sku", "as": "docs"}}],
        [{"_id": 1, "item": "almonds"}, {"_id": 2, "item": "pecans"}, {"_id": 3}],
        [{"_id": 1, "item": "almonds", "docs": INVENTORY[:1]}, {"_id": 2, "item": "pecans", "docs": INVENTORY[3:4]}, {"_id": 3, "docs": INVENTORY[4:6]}],
    ),
    ([{"$lookup": {"from": "inventory", "localField": "n", "foreignField": "sku", "as": "d"}}, {"$project": {"d._id": 1}}], numbers("bread", ["almonds", "cashews"], [], "none"), [{"_id": 0, "d": [{"_id": 2}, {"_id": 7}]}, {"_id": 1, "d": [{"_id": 1}, {"_id": 3}]}, {"_id": 2, "d": []}, {"_id": 3, "d": []}]),
    ([{"$lookup": {"from": "inventory", "localField": "n.k", "foreignField": "instock", "as": "x.d"}}, {"$project": {"x.d.sku": 1}}], numbers([{"k": 60}, {"k": 70.0}]), [{"_id": 0, "x": {"d": [{"sku": "cashews"}, {"sku": "pecans"}]}}]),
    ([{"$lookup": {"from": "inventory", "localField": "n", "foreignField": "sku", "as": "d"}}, {"$unwind": "$d"}, {"$group": {"_id": "$d.sku", "n": {"$sum": 1}}}], numbers("almonds", "almonds", "x"), [{"_id": "almonds", "n": 2}]),
    ([{"$unionWith": "inventory"}, {"$count": "n"}], numbers(1, 2), [{"n": 9}]),
    ([{"$unionWith": {"coll": "inventory", "pipeline": [{"$match": {"instock": {"$gte": 80}}}, {"$project": {"sku": 1}}]}}], numbers(1), [*numbers(1), {"_id": 1, "sku": "almonds"}, {"_id": 2, "sku": "bread"}]),
    ([{"$facet": {"a": [{"$lookup": {"from": "inventory", "localField": "n", "foreignField": "sku", "as": "d"}}, {"$project": {"n": {"$size": "$d"}}}], "b": [{"$count": "n"}]}}], numbers("almonds", None), [{"a": [{"_id": 0, "n": 1}, {"_id": 1, "n": 2}], "b": [{"n": 2}]}]),
]

ALL = [*MATCH, *PROJECT, *ADD, *GROUP, *ORDER, *UNWIND, *FACET, *JOIN]
