"""Words in all scripts: what is stored is found again, however it was written."""

# other scripts are the subject

import unicodedata
from collections import defaultdict
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chatmemory import AsyncChatMemory, AsyncTenant
from tests._async.test_memories import rows, texts

DATA = Path(__file__).resolve().parents[1] / "data" / "recall_languages.tsv"  # language, memory, question
OF_EXISTING = """
update chatmemory.memories set lexemes = to_tsvector('english', text || ' 07 May'),
    speaker_terms = tsvector_to_array(to_tsvector('english', coalesce(speaker, '')));
delete from chatmemory.memory_terms;
insert into chatmemory.memory_terms (tenant_id, user_id, term, place, kind, count, length)
    select m.tenant_id, m.user_id, w.lexeme, m.place, left(m.kind, 1)::"char", 1, 1
    from chatmemory.memories m, unnest(m.lexemes) w;
update chatmemory.memory_users set old_words_below = 9223372036854775807;
update chatmemory.store_items set lexemes = to_tsvector('english', value ->> 'text'), old_words = true;
"""
DIFFERENCES = """
select term, place from chatmemory.memory_terms
except select w.lexeme, m.place from chatmemory.memories m, unnest(m.lexemes) w
"""


@pytest.fixture
def acme(async_memory: AsyncChatMemory) -> AsyncTenant:
    """A tenant of a memory without models."""
    return async_memory.tenant("acme")


async def test_recall_by_words_is_as_good_in_other_languages(acme: AsyncTenant) -> None:
    """The share of questions whose memory is among the first ten is within 10 points of that in English."""
    asked = defaultdict(list)
    for line in DATA.read_text(encoding="utf-8").splitlines():
        language, text, question = line.split("\t")
        memory = await acme.memories.remember(text, user_id=language)
        asked[language].append((memory.id, question))
    found: dict[str, list[float]] = {}
    for language, questions in asked.items():
        ranks = []
        for id, question in questions:
            ids = [each.memory.id for each in await acme.memories.recall(question, user_id=language, k=10)]
            ranks.append(ids.index(id) if id in ids else 10)
        found[language] = [sum(rank < most for rank in ranks) / len(ranks) for most in (10, 3)]
    assert len(found) == 8
    assert found["en"][0] > 0.9
    assert all(one >= english - 0.1 for each in found.values() for one, english in zip(each, found["en"], strict=True))


FOUND = [
    ("我住在里斯本。", "里斯本"),
    ("我住在里斯本。", "安住哪里"),
    ("我的猫叫小白", "猫"),
    ("我的iPhone坏了", "iphone"),
    ("私はPythonを書きます", "python"),
    ("電話は０３１２３４です", "031234"),
    ("ＡＢＣ　Ｔｒａｉｎ", "abc train"),
    ("ﾊﾞｲｵﾘﾝを弾く", "バイオリン"),
    ("バイオリンを弾く", "ﾊﾞｲｵﾘﾝ"),
    ("저는 서울에 살아요", "서울"),
    ("ฉันอาศัยอยู่ที่กรุงเทพ", "กรุงเทพ"),
    ("ฉันดื่มน้ำ", "น้ำ"),
    ("ຂ້ອຍອາໄສຢູ່ວຽງຈັນ", "ວຽງຈັນ"),
    ("ខ្ញុំរស់នៅភ្នំពេញ", "ភ្នំពេញ"),
    ("ကျွန်တော်ရန်ကုန်မှာနေပါတယ်", "ရန်ကုန်"),
    ("मेरी बिल्ली का नाम बर्फ़ है", "बिल्ली"),
    ("هُوَ مُحَمَّد", "محمد"),
    ("أحمد في القاهرة", "احمد"),
    ("ﻣﺤﻤﺪ", "محمد"),
    ("محـــمد", "محمد"),
    ("המִסְעָדָה סגורה", "מסעדה"),
    ("בצה״ל", 'צה"ל'),
    ("İSTANBUL'dayım", "istanbul"),
    ("ISPARTA", "ısparta"),
    ("Ϊ́ta ΚΑΦΕΣ", "καφές"),
    ("ЁЛКА стоит", "елка"),
    ("Straße", "STRASSE"),
    ("cafe\u0301", "café"),
    ("café", "cafe"),
    ("Ærøskøbing", "aeroskobing"),
    ("ﬁne print", "fine"),
    ("“Lisbon”—she said…", "lisbon"),
    ("Zoë’s dog", "zoe"),
    ("غرفة رقم ٤٢", "42"),
    ("𠮷野家で食べた", "𠮷野家"),
    ("soft\u00adware", "software"),
]


@pytest.mark.parametrize(("text", "query"), FOUND)
async def test_a_word_is_found_however_it_is_written(acme: AsyncTenant, text: str, query: str) -> None:
    """In scripts without spaces, among other scripts, composed or not, with and without points and accents."""
    await acme.memories.remember("Something else 別的 다른 อื่น.", user_id="ann")
    await acme.memories.remember(text, user_id="ann")
    assert (await texts(acme, query))[:1] == [text]
    await acme.items.put(("notes",), "one", {"text": text})
    [item] = await acme.items.search(("notes",), query=query)
    assert item.score is not None


@pytest.mark.parametrize("language", ["english", "german", "turkish", "simple"])
async def test_accents_do_not_matter_in_any_language(
    async_memory: AsyncChatMemory, postgres_url: str, language: str
) -> None:
    """A stemmer gets the accents that it knows; the words have none."""
    await async_memory.tenant("acme").sessions.list()
    query = "select tsvector_to_array(chatmemory.words(%s, 'Häuser İzmir 里斯 café'))"
    [(words,)] = rows(postgres_url, query, language)
    assert all(word.isascii() for word in words if word not in ("里", "斯", "里斯"))
    assert {"里", "斯", "里斯", "cafe"} <= set(words)


@given(text=st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=200))
@hypothesis_settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_text_in_ascii_has_postgres_own_words(postgres_url: str, text: str) -> None:
    """English is found by the words it was found by before."""
    query = "select chatmemory.words('english', %s) = to_tsvector('english', %s)"
    assert rows(postgres_url, query, text, text) == [(True,)]


def test_forms_of_a_letter_are_folded(postgres_url: str) -> None:
    """Capitals and compatible forms of the alphabets in use have the same folded form; punctuation has none."""
    alphabets = ((0xC0, 0x180), (0x386, 0x3CF), (0x400, 0x430), (0x48A, 0x588), (0x1E00, 0x1EFA))
    letters = [chr(point) for first, end in alphabets for point in range(first, end)]
    pairs = [(one, one.lower()) for one in letters if one.lower() != one and unicodedata.category(one) == "Lu"]
    wide = [chr(point) for point in (*range(0xFF01, 0xFFDD), *range(0xFB50, 0xFDC8), *range(0xFE70, 0xFEFD))]
    pairs += [(one, unicodedata.normalize("NFKC", one)) for one in wide if unicodedata.name(one, "")]
    assert len(pairs) > 900
    query = (
        "select a, b from unnest(%s::text[], %s::text[]) p(a, b) "
        "where chatmemory.folded_text(a, false) <> chatmemory.folded_text(b, false)"
    )
    assert rows(postgres_url, query, *map(list, zip(*pairs, strict=True))) == []
    marks = [chr(point) for point in range(0xA1, 0x3100) if unicodedata.category(chr(point))[0] in "PZ"]
    marks = [mark for mark in marks if unicodedata.normalize("NFKD", mark) == mark]
    query = "select m from unnest(%s::text[]) m where chatmemory.folded_text('x' || m || 'x', false) !~ '^x[ '']?x$'"
    left = {each for (each,) in rows(postgres_url, query, marks)}
    assert not {"。", "、", "「", "،", "؟", "।", "–", "—", "¿", "»", "־", "·", "・", "។", "၊"} & left
    assert len(left) < len(marks) / 4  # of scripts that are hardly used


async def test_memories_stored_before_are_found(acme: AsyncTenant, postgres_url: str) -> None:
    """The first recalls after a migration renew the words of the user's memories, the newest first."""
    session = await acme.sessions.create(user_id="ann")
    await session.append("user", "我住在里斯本。", metadata={"speaker": "小明"})
    await session.append("user", "Our dog is brown.")
    await session.consolidate()
    await acme.memories.remember("ฉันอาศัยอยู่ที่กรุงเทพ", user_id="ann")
    await acme.memories.remember("我们在东京开会。")
    await acme.items.put(("notes",), "one", {"text": "我住在里斯本。"})
    rows(postgres_url, OF_EXISTING)
    assert (await texts(acme, "里斯本"))[0] == "我住在里斯本。"
    for query in ("กรุงเทพ", "东京", "dog", "May"):
        assert await texts(acme, query), query
    assert rows(postgres_url, DIFFERENCES) == []
    [(_, speaker)] = rows(postgres_url, "select id, speaker_terms from chatmemory.memories where speaker <> ''")
    assert speaker == ["小明"]
    assert (await acme.items.search(("notes",), query="里斯本"))[0].score is not None
    await acme.users.erase("ann")
    assert {user for (user,) in rows(postgres_url, "select user_id from chatmemory.memory_terms")} == {""}


async def test_many_memories_stored_before_are_renewed_step_by_step(acme: AsyncTenant, postgres_url: str) -> None:
    """A recall renews at most 500; the next ones renew the rest, and then there is nothing to do."""
    one = await acme.memories.remember("我住在里斯本。", user_id="ann")
    copied = (
        "insert into chatmemory.memories (tenant_id, id, user_id, kind, text, place, trust, importance, valid_from, "
        "lexemes) select tenant_id, id || n, user_id, kind, text || n, place + n, trust, importance, valid_from, "
        "lexemes from chatmemory.memories, generate_series(1, 1000) n where id = %s"
    )
    rows(postgres_url, copied, one.id)
    rows(postgres_url, OF_EXISTING)
    counts = []
    query = (
        "select old_words_below > 0, (select count(*) from chatmemory.memory_terms where term = '里斯') "
        "from chatmemory.memory_users"
    )
    for _ in range(4):
        await acme.memories.recall("tea", user_id="ann")
        counts += rows(postgres_url, query)
    assert counts == [(True, 500), (True, 1000), (False, 1001), (False, 1001)]


async def test_a_recall_beside_a_writer_does_not_wait(acme: AsyncTenant, postgres_url: str) -> None:
    """Words of a user who is being written to are renewed by a later recall."""
    await acme.memories.remember("我住在里斯本。", user_id="ann")
    rows(postgres_url, OF_EXISTING)
    with psycopg.connect(postgres_url) as writer:
        writer.execute("select from chatmemory.memory_users for no key update")
        assert await texts(acme, "里斯本") == []
    assert await texts(acme, "里斯本") == ["我住在里斯本。"]


@pytest.mark.parametrize("unit", ["{}", "{}{} ", "é{} "])
async def test_a_long_text_is_cut_to_the_words_that_fit(acme: AsyncTenant, unit: str) -> None:
    """A message of more distinct words than a tsvector holds is learnt, and found by its first words."""
    hangul = [chr(0xAC00 + point) for point in range(11_172)]
    pairs = zip(hangul * 18, hangul[::-1] * 18, strict=True)
    long = "첫머리 " + "".join(unit.format(one, two) for one, two in pairs)
    session = await acme.sessions.create(user_id="ann")
    await session.append("user", long[:200_000])
    assert (await session.consolidate()).status == "success"
    assert len(await acme.memories.recall("첫머리", user_id="ann")) == 1
    await acme.memories.recall(long, user_id="ann")
    await acme.items.search(("notes",), query=long)
