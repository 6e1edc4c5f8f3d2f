import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.learning import parameters

SHAPES = st.lists(
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple), min_size=1, max_size=4
).map(tuple)


def test_flatten_lays_arrays_end_to_end_in_row_order():
    flat = parameters.flatten([np.array([[1, 2], [3, 4]]), np.array([5, 6])])
    assert flat.tolist() == [1, 2, 3, 4, 5, 6]


def test_unflatten_cuts_a_stack_into_stacks():
    weight, bias = parameters.unflatten(np.arange(12).reshape(2, 6), ((2, 2), (2,)))
    assert weight.tolist() == [[[0, 1], [2, 3]], [[6, 7], [8, 9]]]
    assert bias.tolist() == [[4, 5], [10, 11]]


@settings(deadline=None)
@given(SHAPES)
def test_flatten_undoes_unflatten(shapes):
    vector = np.arange(float(parameters.size(shapes)))
    views = parameters.unflatten(vector, shapes)
    assert [view.shape for view in views] == list(shapes)
    assert np.array_equal(parameters.flatten(views), vector)
    tensors = parameters.unflatten(torch.from_numpy(vector), shapes)
    assert torch.equal(parameters.flatten(tensors), torch.from_numpy(vector))


@settings(deadline=None)
@given(SHAPES, st.integers(1, 3))
def test_views_write_through_to_the_vector(shapes, stack):
    for vector in (np.zeros((stack, parameters.size(shapes))),):
        for view in parameters.unflatten(vector, shapes):
            view += 1
        for view in parameters.unflatten(torch.from_numpy(vector), shapes):
            view += 1
        assert (vector == 2).all()


@pytest.mark.parametrize("length", [5, 7])
def test_a_vector_of_the_wrong_length_is_refused(length):
    with pytest.raises(ValueError, match=rf"size\(shapes\)=6 .* got shape \({length},\)"):
        parameters.unflatten(np.zeros(length), ((2, 2), (2,)))
