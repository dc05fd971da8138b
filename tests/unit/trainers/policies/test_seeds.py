"""Seeds of single batches."""

import itertools

from nnunet_ext.trainers.policies.seeds import Stream, seed_of


def test_every_rank_stream_and_number_has_a_seed_of_its_own_that_stays():
    seeds = {key: seed_of(*key) for key in itertools.product((0, 7, 2**32 - 1), (0, 1, 5), Stream, range(40))}
    assert len(set(seeds.values())) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds.values())
    assert seed_of(7, 0, Stream.TRAINING, 3) == 4051459096
