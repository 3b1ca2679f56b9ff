"""Keep the sentences that a question needs, with BM25: no model, no download, about a second."""

from contextpruner import ContextPruner, Document

DOCUMENTS = [
    Document(
        id="florence",
        title="Florence Cathedral",
        text="Florence Cathedral stands in Tuscany. Its dome was designed by Filippo Brunelleschi, who won "
        "the commission in 1418. The basilica is one of Italy's largest churches. Visitors climb 463 steps.",
    ),
    Document(
        id="paul",
        title="St Paul's Cathedral",
        text="St Paul's is an Anglican cathedral in London. Sir Christopher Wren designed the present "
        "building. It was declared complete on Christmas Day 1711. The crypt holds over 200 memorials.",
    ),
    Document(
        id="bread",
        title="Bread",
        text="Bread is baked from dough of flour and water. It is one of the oldest prepared foods.",
    ),
]


def main() -> None:
    pruner = ContextPruner(labeler="bm25")
    result = pruner.prune("Who designed the dome of Florence Cathedral?", DOCUMENTS, max_tokens=50)
    for document in result.documents:
        kept = f"{document.n_tokens_after} of {document.n_tokens_before} tokens"
        print(f"[{document.id}] score {document.score:.2f}, {kept}: {document.text.strip() or '-'}")


if __name__ == "__main__":
    main()
