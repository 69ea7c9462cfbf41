"""The iris tutorial by hand: train, evaluate, log, register, alias, load and try, with scikit-learn and MLflow.

    python mlflow_iris.py FOLDER

No gate, no checks, no intervals, no report: the least that gives a registered model that was tried.
"""

import json
import sys

import mlflow
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split


def main(folder: str) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("iris")
    rows, target = load_iris(return_X_y=True, as_frame=True)
    train, test, train_target, test_target = train_test_split(rows, target, test_size=0.2, random_state=42)
    parameters = {"n_estimators": 100, "random_state": 42}
    with mlflow.start_run():
        model = RandomForestClassifier(**parameters).fit(train, train_target)
        mlflow.log_params(parameters)
        accuracy = float(model.score(test, test_target))
        mlflow.log_metric("accuracy", accuracy)
        signature = infer_signature(train, model.predict(train))
        types = ["numpy.dtype", "sklearn.tree._tree.Tree"]  # skops asks for every type it is to load
        mlflow.sklearn.log_model(
            model, name="model", signature=signature, registered_model_name="iris", skops_trusted_types=types
        )
    mlflow.MlflowClient().set_registered_model_alias("iris", "champion", "1")
    tried = mlflow.pyfunc.load_model("models:/iris@champion").predict(test)
    print(json.dumps({"accuracy": accuracy, "same": bool((tried == model.predict(test)).all())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
