"""Every value of every field has a text form that is read back as it was, whatever letters are in it."""

import dataclasses
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prunekernels import registry, spec


@dataclasses.dataclass(frozen=True)
class Fields:
    """One field of each kind."""

    text: str = ""
    perhaps: str | None = None
    either: int | str = 0
    number: float = 0.5
    count: int | None = None
    flag: bool = False
    word: Literal["a", "b,c", 'd"'] = "a"
    numbers: int | tuple[int, ...] = 1
    texts: tuple[str, ...] = ()


@pytest.fixture(autouse=True, scope="module")
def _one_method() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "load", lambda package, name, kind: Fields)
        yield


TEXT = st.text(
    st.one_of(st.sampled_from(list(",\"'=/:\\ \n\tNone1.-")), st.characters(exclude_categories=["Cs"])), max_size=12
)
FIELDS = st.builds(
    Fields,
    text=TEXT,
    perhaps=st.one_of(st.none(), TEXT),
    either=st.one_of(st.integers(), TEXT),
    number=st.floats(allow_nan=False),
    count=st.one_of(st.none(), st.integers()),
    flag=st.booleans(),
    word=st.sampled_from(["a", "b,c", 'd"']),
    numbers=st.one_of(st.integers(), st.lists(st.integers(), max_size=3).map(tuple)),
    texts=st.lists(TEXT, max_size=3).map(tuple),
)


@given(FIELDS)
@example(Fields(text="None", perhaps="None", either="5", texts=("", "/", "a,b")))
@example(Fields(text='"', perhaps="", either="a=b,c", texts=('"',)))
@example(Fields(text=" a ", perhaps="\\", either='\\"', texts=("a/b", " ", "1")))
def test_every_value_comes_back(made: Fields) -> None:
    for every_field in (False, True):
        text = spec.describe(made, every_field=every_field)
        assert spec.build("tools", text, Fields) == made
        assert str(spec.parse(text)) == text
        # and behind a name, as a column has one
        assert spec.build("tools", f"fields:{text.partition(':')[2]}", Fields) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ('fields:text="my,model",perhaps=x', Fields(text="my,model", perhaps="x")),
        ("fields:text=/a/b=c:d e,count=none", Fields(text="/a/b=c:d e")),
        ('fields: text = "a" , perhaps = "None" ', Fields(text="a", perhaps="None")),
        ('fields:text=say "hi"', Fields(text='say "hi"')),
        ("fields:text=it's", Fields(text="it's")),
        ('fields:either="5"', Fields(either="5")),
        ('fields:texts="a,b"/c/"d/e"', Fields(texts=("a,b", "c", "d/e"))),
        ('fields:texts=""/', Fields(texts=("",))),
        ('fields:text="\\u00e9\\n"', Fields(text="é\n")),
    ],
)
def test_quotes_by_hand(text: str, made: Fields) -> None:
    assert spec.build("tools", text, Fields) == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('fields:text="a', "want quotes that end"),
        ('fields:text="a"b', "fields.text wants nothing behind the quotes"),
        ('fields:text="\\x"', "fields.text wants text between quotes"),
        ('fields:count="5"', "fields.count wants int or NoneType, got '\"5\"'"),
        ("fields:text=a,text=b", "fields wants 'text' once, got it twice"),
        ("fields:text", "fields wants field=value, got 'text'"),
    ],
)
def test_text_forms_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec.build("tools", text, Fields)


def test_every_field_is_told_where_asked() -> None:
    own = Fields.__module__.rpartition(".")[2]
    assert spec.describe(Fields()) == own
    assert spec.describe(Fields(), every_field=True) == (
        f'{own}:text="",perhaps=None,either=0,number=0.5,count=None,flag=False,word=a,numbers=1,texts=/'
    )


def test_long_texts_take_linear_time() -> None:
    assert spec.build("tools", 'fields:text="' + '\\"' * 200_000 + '"', Fields).text == '"' * 200_000


@pytest.mark.parametrize("value", [b"x", [1, 2], ((1,),), {1: 2}])
def test_values_of_another_kind_are_told_and_not_read(value: object) -> None:
    text = spec.describe(Fields(count=value))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"fields\.count wants int or NoneType"):
        spec.build("tools", text.replace(Fields.__module__.rpartition(".")[2], "fields"), Fields)


def test_a_class_whose_types_are_not_known_is_told() -> None:
    @dataclasses.dataclass
    class Own:
        model: "NotThere" = "a,b"  # noqa: F821

    assert spec.describe(Own(), every_field=True).endswith(':model="a,b"')
