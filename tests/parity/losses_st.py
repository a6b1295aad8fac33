"""Cases of losses on random vectors, and what sentence-transformers' own losses and autograd say of them in f64.

Used by loss_parity.py and make_losses_golden.py. A case is a dictionary that tests/support/loss_cases.h reads: loss, options,
n queries with `group` passages each (query-major, the positive first) of `width` components, gold and teacher scores.
Two of the definitions differ by a factor, which is taken out here: sentence-transformers sums over Matryoshka's dims where
Lodestone averages, and multiplies the KL divergence by the square of the student's temperature.
"""
import torch
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.util import pairwise_cos_sim, pairwise_dot_score


class Vectors(torch.nn.Module):
    """Stands for the model: the vectors that a loss is given as texts are their own embeddings."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, features):
        return {"sentence_embedding": features["vectors"]}

    def get_embedding_dimension(self):
        return self.width


def info_nce(model, options):
    return losses.MultipleNegativesRankingLoss(model, scale=1 / options["temperature"]), 1


def symmetric_info_nce(model, options):
    return losses.MultipleNegativesRankingLoss(model, scale=1 / options["temperature"], directions=("query_to_doc", "doc_to_query"),
                                               partition_mode="per_direction"), 1


def gte(model, options):
    every = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")
    return losses.MultipleNegativesRankingLoss(model, scale=1 / options["temperature"], directions=every, partition_mode="joint"), 1


def cosent(model, options):
    return losses.CoSENTLoss(model, scale=1 / options["temperature"]), 1


def kl_divergence(model, options):
    loss = losses.DistillKLDivLoss(model, similarity_fct=pairwise_cos_sim, student_temperature=options["temperature"],
                                   teacher_temperature=options["teacher_temperature"])
    return loss, options["temperature"] ** 2


def margin_mse(model, options):
    similarity = {"dot": pairwise_dot_score, "cosine": pairwise_cos_sim}[options["similarity"]]
    return losses.MarginMSELoss(model, similarity_fct=similarity), 1


# name: (how to make it, options, group, prefixes)
KINDS = {
    "info_nce": (info_nce, {"temperature": 0.05}, 1, None),
    "info_nce with negatives": (info_nce, {"temperature": 0.1}, 3, None),
    "info_nce of prefixes": (info_nce, {"temperature": 0.1}, 2, [2, 3, 4]),
    "cosent": (cosent, {"temperature": 0.05}, 1, None),
    "cosent at a small temperature": (cosent, {"temperature": 0.01}, 1, None),
    "cosent of prefixes": (cosent, {"temperature": 0.1}, 1, [2, 4]),
    "kl_divergence": (kl_divergence, {"temperature": 0.2, "teacher_temperature": 1.0}, 4, None),
    "kl_divergence of a sharp teacher": (kl_divergence, {"temperature": 0.05, "teacher_temperature": 0.3}, 3, None),
    "margin_mse": (margin_mse, {"similarity": "dot"}, 4, None),
    "margin_mse with one negative": (margin_mse, {"similarity": "dot"}, 2, None),
    "margin_mse of cosines": (margin_mse, {"similarity": "cosine"}, 3, None),
    "symmetric info_nce": (symmetric_info_nce, {"temperature": 0.05}, 1, None),
    "symmetric info_nce with negatives": (symmetric_info_nce, {"temperature": 0.1}, 3, None),
    "gte": (gte, {"temperature": 0.05}, 1, None),
    "gte with negatives": (gte, {"temperature": 0.1}, 3, None),
    "gte of prefixes": (gte, {"temperature": 0.1}, 2, [2, 4]),
}


def make_case(kind, n, scale, seed):
    """`scale` times as wide as the prefixes of KINDS need. Numbers have three decimals: exact in the file."""
    make, options, group, dims = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    width = 4 * scale

    def numbers(*shape, step=0.001):
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64) / step
        return [round(k * step, 3) for k in drawn.round().flatten().tolist()]

    case = {"name": f"{kind}, seed {seed}", "kind": kind, "loss": make.__name__, "options": options, "n": n, "group": group, "width": width,
            "queries": numbers(n, width), "passages": numbers(n * group, width), "scores": numbers(n, step=0.5),
            "teacher_scores": numbers(n * group)}
    if dims:
        case["matryoshka_dims"] = [d * scale for d in dims]
    return case


def answer(case):
    """{"loss": x, "gradient": [queries, then passages]} by sentence-transformers and autograd."""
    n, group, width = case["n"], case["group"], case["width"]
    queries = torch.tensor(case["queries"], dtype=torch.float64).reshape(n, width).requires_grad_()
    passages = torch.tensor(case["passages"], dtype=torch.float64).reshape(n, group, width).requires_grad_()
    model = Vectors(width)
    loss, factor = KINDS[case["kind"]][0](model, case["options"])
    dims = case.get("matryoshka_dims")
    if dims:
        loss, factor = losses.MatryoshkaLoss(model, loss, matryoshka_dims=dims), factor * len(dims)
    columns = [{"vectors": queries}] + [{"vectors": passages[:, g]} for g in range(group)]
    labels = torch.tensor(case["scores"] if case["loss"] == "cosent" else case["teacher_scores"], dtype=torch.float64)
    if case["loss"] != "cosent":
        labels = labels.reshape(n, group)
    value = loss(columns, labels) / factor
    value.backward()
    return {"loss": value.item(), "gradient": queries.grad.flatten().tolist() + passages.grad.flatten().tolist()}
