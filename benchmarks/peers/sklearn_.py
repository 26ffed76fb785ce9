"""scikit-learn's MLPClassifier by partial_fit, one epoch a call; without hidden layers it is logistic regression.

SGDClassifier is no peer: it updates on one row at a time, and fits one class against the rest.
"""

import time
import warnings

import numpy as np
from protocol import Job, Report
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

warnings.filterwarnings("ignore", category=ConvergenceWarning)

job = Job.given()
x, y, x_valid, y_valid = job.splits()
x, x_valid = x.reshape(len(x), -1), x_valid.reshape(len(x_valid), -1)
report = Report(job)
model = MLPClassifier(
    hidden_layer_sizes=() if job.model == "logistic" else (job.hidden,),
    solver="sgd",
    momentum=0.0,
    nesterovs_momentum=False,
    alpha=0.0,
    batch_size=job.batch_size,
    learning_rate_init=job.learning_rate,
    random_state=job.seed,
)
done = False
while not done:
    begun = time.perf_counter()
    model.partial_fit(x, y, classes=np.arange(int(y.max()) + 1))
    trained = time.perf_counter()
    wrong = int((model.predict(x_valid) != y_valid).sum())
    done = report.epoch(trained - begun, time.perf_counter() - trained, model.loss_, wrong)
report.print("scikit-learn", "numpy")
