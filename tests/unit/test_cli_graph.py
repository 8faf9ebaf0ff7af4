"""The graph of a conversation as `runs show` prints it, from the very rows."""

from __future__ import annotations

from services.facts import body_of, make_dispatch

from hub import run_views
from hub.commands.runs import drawn
from storage.conversations import run_id_of
from storage.database import Database
from storage.links import Link, learn, link_subject
from storage.runs import take_dispatch


async def test_runs_show_draws_subjects_links_and_claims(database: Database) -> None:
    dispatch = make_dispatch(1)
    await database.write(take_dispatch, dispatch, body_of(dispatch))
    key = dispatch.conversation
    here = {"connection": "acme-github", "subject": "acme/checkout#31"}
    await database.write(
        link_subject, key, connection_name="acme-github", subject="acme/checkout#31", now=1.0, how="posted"
    )
    await database.write(
        link_subject,
        key,
        connection_name="acme-jira",
        subject="SHOP-7",
        now=2.0,
        how="key",
        reference="key:SHOP-7",
    )
    proven = Link(reference="key:SHOP-7", how="key", proven=True, by="triggerhub", evidence="run_1:x", **here)
    claimed = Link(reference="key:PAY-3", how="key", proven=False, by="outsider", evidence="evt_2", **here)
    await database.write(learn, key, [proven, claimed], now=3.0)
    shown = await database.read(run_views.run, run_id_of(dispatch.id))
    assert shown.graph is not None
    lines = drawn(shown.graph)
    assert lines[1] == "conversation (private; told of private at the narrowest)"
    assert "  acme-github acme/checkout#12  (origin)" in lines
    at = lines.index("  acme-github acme/checkout#31  (posted)")
    assert lines[at + 1 : at + 3] == [
        "    -> key:PAY-3  (key by outsider, claimed: routes nothing)",
        "    -> key:SHOP-7  (key by triggerhub)",
    ]
    assert "  acme-jira SHOP-7  (key by key:SHOP-7)" in lines
    assert (shown.follow_up, shown.joined_to, shown.told) == (None, None, ())
