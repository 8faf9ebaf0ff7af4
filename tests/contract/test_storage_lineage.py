"""The key that signs markers and what a marker is checked against, on both databases."""

from __future__ import annotations

import asyncio

import pytest
from services.facts import body_of, make_delivery, make_dispatch, make_result
from sqlalchemy import select, update

from schemas.marker import Marker
from schemas.result import Receipt
from storage.conversations import run_id_of
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.hub_tables import HubKeyRow
from storage.lineage import KEY_BYTES, is_copy, lineage_of, marker_key
from storage.results import claim_results, keep_receipt, take_result
from storage.routing import RecordedVerdict, record_routing
from storage.rows import table
from storage.runs import take_dispatch
from storage.tables import DispatchRow


async def test_all_who_ask_at_once_get_the_one_key(database: Database) -> None:
    keys = await asyncio.gather(*(database.write(marker_key) for _ in range(8)))
    assert len(set(keys)) == 1
    assert len(keys[0]) == KEY_BYTES
    rows = await database.read(lambda c: c.execute(select(table(HubKeyRow))).all())
    assert len(rows) == 1
    assert await database.read(marker_key) == keys[0], "once it is there, a reader gets it too"


@pytest.mark.parametrize("routed", [True, False], ids=["by the router", "by another program"])
async def test_a_run_is_signed_with_where_it_comes_from(
    database: Database,
    routed: bool,  # noqa: FBT001 - a case's value
) -> None:
    first = make_dispatch(1)
    deep = make_dispatch(2, conversation="other", depth=2, root="evt_first")
    for dispatch in (first, deep):
        await database.write(store_deliveries, [make_delivery(dispatch.id, dispatch.event)])
        if routed:
            verdict = RecordedVerdict(dispatch.rule, "matched", "every clause held", dispatch=dispatch)
            await database.write(record_routing, dispatch.event.id, [verdict])
        await database.write(take_dispatch, dispatch, body_of(dispatch))
    key = await database.write(marker_key)
    for dispatch, root, depth in ((first, first.event.id, 0), (deep, "evt_first", 2)):
        run = run_id_of(dispatch.id)
        lineage = await database.write(lineage_of, run)
        assert lineage is not None
        assert (lineage.root, lineage.depth) == (root, depth)
        assert Marker(run, "comment.1", lineage).is_genuine(key)
    assert await database.write(lineage_of, "run_of_nobody") is None

    rows = table(DispatchRow)
    older = update(rows).where(rows.c.id == first.id).values(root_event=None)
    await database.write(lambda c: c.execute(older))
    lineage = await database.write(lineage_of, run_id_of(first.id))
    assert lineage is not None
    assert lineage.root == first.event.id, "written by an earlier version"


async def test_a_copy_is_known_once_the_receipt_is_kept(database: Database) -> None:
    dispatch = make_dispatch(1)
    await database.write(take_dispatch, dispatch, body_of(dispatch))
    result = make_result(run_id_of(dispatch.id), "comment.1")
    mark = Marker(result.run, result.slot)
    await database.write(take_result, result, result.model_dump_json().encode())
    (claim,) = await database.write(claim_results, owner="poster", limit=1, lease=60.0)
    assert claim.lineage is not None
    assert not await database.read(is_copy, mark, "comment:8"), "it may be on its way"
    await database.write(keep_receipt, claim, Receipt(artefact="comment:7"))
    assert not await database.read(is_copy, mark, "comment:7")
    assert await database.read(is_copy, mark, "comment:8")
    assert await database.read(is_copy, mark, None)
    assert await database.read(is_copy, Marker("run_forgotten", "comment.1"), "comment:8")
