"""Walks 25 datasets at 10 a page, in every way that the client offers."""

import vi
from report import finish

client = vi.Client()

# The quick start has made a sample dataset already.
existing = sum(1 for _ in client.datasets)
for number in range(existing, 25):
    client.datasets.create(name=f"Dataset {number}")

ten = {"page_size": 10}
pages = list(client.datasets.list(pagination=ten))
simple_pages = list(client.datasets.list_simple(pagination=ten))
second = client.datasets.list(pagination={"page_size": 10, "page_token": pages[0].next_page})

finish(
    {
        "page_sizes": [len(page.items) for page in pages],
        "tokens": [page.next_page for page in pages],
        "ids": [dataset.dataset_id for page in pages for dataset in page.items],
        "ids_by_iteration": [dataset.dataset_id for dataset in client.datasets],
        "ids_in_one_page": [dataset.dataset_id for dataset in client.datasets.list(pagination={"page_size": 1000}).items],
        "ids_of_second_page": [dataset.dataset_id for dataset in second.items],
        "simple_page_sizes": [len(page.items) for page in simple_pages],
        "simple_ids": [dataset["datasetId"].rsplit("_", 1)[-1] for page in simple_pages for dataset in page.items],
    }
)
