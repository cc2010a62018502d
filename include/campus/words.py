"""The vocabulary that Campus's texts are made of."""

from random import Random

_FIRST = """
Ada Amir Anna Bao Bea Carlos Chloe Dana Eli Emeka Eva Farid Freya Goran Hana Ines Ivan Jana Joao Kaito Lena
Liam Mara Mei Milos Nadia Noor Oscar Pia Quinn Rosa Sami Tara Tomas Uma Vera Wen Yara Zoe Zoltan
"""
_LAST = """
Adeyemi Almeida Bauer Becker Chen Costa Dubois Eriksen Fischer Garcia Haddad Hoang Ito Jansen Kaya Kowalski
Larsen Lopez Martin Meyer Mori Nagy Novak Okafor Olsen Petrov Popescu Rahman Rossi Sato Schmidt Silva Singh
Suzuki Tanaka Varga Weber Wong Yilmaz Zhang
"""
_WORDS = """
the a of in to is that because water energy cell plant light force number answer graph line river city war
treaty poem verse author argument evidence source example result method step first then finally however
therefore increases decreases balances explains shows compares equals depends changes grows moves between
during after before under over each every both neither clear strong weak simple complex north south
"""
FIRST = tuple(_FIRST.split())
LAST = tuple(_LAST.split())
WORDS = tuple(_WORDS.split())


def sentence(rng: Random, shortest: int, longest: int) -> str:
    """Return one sentence of so many words."""
    text = " ".join(rng.choices(WORDS, k=rng.randint(shortest, longest)))
    return f"{text[0].upper()}{text[1:]}."


def paragraph(rng: Random, size: int) -> str:
    """Return sentences of at least so many characters in all."""
    said: list[str] = []
    length = 0
    while length < size:
        said.append(sentence(rng, 6, 18))
        length += len(said[-1]) + 1
    return " ".join(said)
