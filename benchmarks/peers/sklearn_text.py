"""The usual text classifier: scikit-learn's TF-IDF of words and bigrams, and logistic regression.

    python sklearn_text.py TRAIN.csv TEST.csv

Prints one JSON line with the accuracy on the test rows; both files have the columns text and label.
"""

import json
import sys

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def main(train_file: str, test_file: str) -> None:
    train, test = pd.read_csv(train_file), pd.read_csv(test_file)
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))
    model.fit(train["text"], train["label"])
    print(json.dumps({"accuracy": float(model.score(test["text"], test["label"]))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
