"""What every figure is called and shows: (title, sentence) by the name of its file."""

from hycam_exp.report import titles

CAPTIONS = {
    "convergence": (
        "Loss over steps",
        "Validation loss, and training loss averaged from one validation to the next: mean and standard deviation"
        " over folds.",
    ),
    "loss_curves": (
        "Loss over steps and seeds",
        "Validation loss, and training loss averaged from one validation to the next: mean and standard deviation"
        " over seeds of one fold, as in the paper's figure of training losses.",
    ),
    "num_specialized": (
        "Number of specialized CAMs",
        "Mean PPL of the tasks over N_s; small dots are single folds.",
    ),
    "tau": ("Temperature", "Mean PPL of the tasks over tau of the Gumbel-Softmax; small dots are single folds."),
    "pareto": (
        "What perplexity costs",
        "PPL against trained parameters, seconds of training and peak memory; nothing is better in both than the"
        " settings on the dashed line.",
    ),
    "tasks": ("Perplexity of every task", "Each run is a small bar; the mean has its standard deviation."),
    "retention": (
        "Gain and retention",
        "The fall of PPL on the tasks against the rise of PPL on general text, both from the unadapted backbone: the"
        " right is better, and the bottom.",
    ),
    "routing": ("Routing", "The router's mean weight of every module, by layer and task, of one run."),
    "tsne": (
        "Value vectors with and without CAM",
        "t-SNE of response tokens, and of the attention's outputs; the silhouette says how far tasks stand apart.",
    ),
    "weight_matrix": (
        "Weight matrix",
        "What CAM multiplies each feature of each token by: above 1 it amplifies, below 1 it attenuates.",
    ),
}


def caption(name: str) -> tuple[str, str]:
    """Title and sentence of a figure; `routing-hycam` is the routing of hycam, and an unknown name is its own title."""
    kind, _, of = name.partition("-")
    title, about = CAPTIONS.get(kind, (kind.replace("_", " "), ""))
    method, _, variant = of.partition("-")
    shown = ", ".join(filter(None, (titles.method(method), variant)))
    return f"{title}: {shown}" if shown else title, about
