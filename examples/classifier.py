"""Train a small classifier of tasks and show how good it is on what it never saw.

    python examples/classifier.py

Naive Bayes over words, with scikit-learn's ``fit`` and ``predict``, so that any model
of that library can take its place: ``Router(tasks=..., classifier=model)``.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

EXAMPLES = {
    "summarize": [
        "Summarize this article in three sentences.",
        "Give me a short summary of the meeting notes below.",
        "Condense the following report to its key points.",
        "What are the main points of this text?",
        "Shorten this email thread to a paragraph.",
        "Write an abstract for the paper below.",
        "Sum up the discussion in one line.",
        "Please give a brief overview of this chapter.",
        "Extract the key points from these notes.",
        "Boil this report down to a short paragraph.",
        "A summary of the article in two sentences, please.",
        "Recap the main points of the meeting.",
    ],
    "reasoning": [
        "Prove that the square root of two is irrational.",
        "Explain step by step why this algorithm terminates.",
        "Derive the formula for the variance of a sum.",
        "Find the bug in this function and explain why it fails.",
        "How many ways are there to tile the board? Show the proof.",
        "Compare both designs and argue which one scales.",
        "Why does this proof by induction fail?",
        "Work out step by step how long the journey takes.",
        "Explain why the function fails for negative numbers.",
        "Prove by induction that the sum formula holds.",
        "Show step by step how to derive this bound.",
        "Argue why the algorithm is correct and find its worst case.",
    ],
    "fast": [
        "What is the capital of France?",
        "Translate 'good morning' to Spanish.",
        "What time zone is Tokyo in?",
        "Say hello to our new colleague.",
        "Is 'recieve' spelled correctly?",
        "What is the plural of 'index'?",
        "Translate this word to German: window.",
        "Who wrote Hamlet?",
        "What is the currency of Japan?",
        "Spell 'accommodate' for me.",
        "Who is the author of Faust?",
        "What is the capital of Peru?",
    ],
}


class NaiveBayes:
    """Multinomial naive Bayes over lower-case words, smoothed by one half."""

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> NaiveBayes:
        """Learn from texts and the task each belongs to."""
        self._words: dict[str, Counter[str]] = defaultdict(Counter)
        self._labels = Counter(labels)
        for text, label in zip(texts, labels, strict=True):
            self._words[label].update(words(text))
        self._known = set().union(*self._words.values())
        return self

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return the likeliest task of each text."""
        return [max(self._labels, key=lambda x: self._score(t, x)) for t in texts]

    def _score(self, text: str, label: str) -> float:
        counts = self._words[label]
        total = sum(counts.values()) + 0.5 * len(self._known)
        score = math.log(self._labels[label])
        for word in words(text):
            if word in self._known:
                score += math.log((counts[word] + 0.5) / total)
        return score


def words(text: str) -> list[str]:
    """Return the words of a text, lower case."""
    return re.findall(r"[a-z']+", text.lower())


def main() -> float:
    """Train on two thirds of the examples; return the share of the rest told right."""
    learn: list[tuple[str, str]] = []
    held: list[tuple[str, str]] = []
    for task, texts in EXAMPLES.items():
        for i, text in enumerate(texts):
            (held if i % 3 == 2 else learn).append((text, task))
    model = NaiveBayes().fit([t for t, _ in learn], [task for _, task in learn])
    told = model.predict([text for text, _ in held])
    right = sum(guess == task for guess, (_, task) in zip(told, held, strict=True))
    for guess, (text, task) in zip(told, held, strict=True):
        print(f"{'  ' if guess == task else '! '}{guess:<10} {text}")
    print(f"{right} of {len(held)} held-out texts right ({right / len(held):.0%})")
    return right / len(held)


if __name__ == "__main__":
    main()
