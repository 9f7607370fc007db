"""What a new camera sees of a frame: where things land, what hides what, and where nothing is known."""

import math

import numpy as np
import pytest

from lvis.errors import UserError
from lvis.warp import (
    HOLE,
    Pinhole,
    Trajectory,
    backward_warp,
    forward_warp,
)

HEIGHT, WIDTH = 24, 40
CAMERA = Pinhole(HEIGHT, WIDTH, focal=32.0)
FRAME = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def flat(depth: float) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), depth)


@pytest.mark.parametrize("kind", ["flat", "slanted", "rough"])
def test_the_same_camera_sees_the_same_picture_without_holes(kind):
    slope = np.linspace(1, 9, WIDTH)[None].repeat(HEIGHT, 0)
    rough = np.random.default_rng(1).uniform(1, 9, (HEIGHT, WIDTH))
    depth = {"flat": flat(3.7), "slanted": slope, "rough": rough}[kind]
    view = forward_warp(FRAME, depth, CAMERA, Trajectory().pose(0))
    assert view.observed.all()
    assert np.array_equal(view.frame, FRAME)


@pytest.mark.parametrize("translate, shift", [((1, 0, 0), (-8, 0)), ((0, 0.5, 0), (0, -4))])
def test_a_plane_shifts_by_focal_length_times_translation_over_depth(translate, shift):
    view = forward_warp(FRAME, flat(4.0), CAMERA, Trajectory(translate=translate).pose(0))
    moved = np.full_like(FRAME, HOLE)
    moved[: HEIGHT + shift[1], : WIDTH + shift[0]] = FRAME[-shift[1] :, -shift[0] :]
    observed = np.zeros((HEIGHT, WIDTH), bool)
    observed[: HEIGHT + shift[1], : WIDTH + shift[0]] = True
    assert np.array_equal(view.observed, observed)
    assert np.array_equal(view.frame, moved)


def test_a_shift_by_half_a_pixel_mixes_two_neighbours_and_leaves_no_crack():
    view = forward_warp(FRAME, flat(4.0), CAMERA, Trajectory(translate=(1 / 16, 0, 0)).pose(0))
    assert view.observed.all()
    mixed = (FRAME[:, 1:].astype(float) + FRAME[:, :-1]) / 2
    assert np.abs(view.frame[:, :-1] - mixed).max() <= 0.5


@pytest.mark.parametrize("nearer_row", [True, False])
def test_what_is_nearer_hides_what_is_farther(nearer_row):
    # the camera moves right by 0.5: 2 pixels at depth 8, 8 pixels at 2, 1 pixel at 16
    depth, frame = flat(8.0), np.full_like(FRAME, 50)
    frame[8:16, 20:28], depth[8:16, 20:28] = 200, 2.0 if nearer_row else 16.0
    view = forward_warp(frame, depth, CAMERA, Trajectory(translate=(0.5, 0, 0)).pose(0))
    if nearer_row:
        assert (view.frame[8:16, 12:20] == 200).all()
        hole = np.zeros((HEIGHT, WIDTH), bool)
        hole[8:16, 20:26] = hole[:, WIDTH - 2 :] = True
        assert np.array_equal(~view.observed, hole)
        assert (view.frame[hole] == HOLE).all()
    else:
        # a window that moves by 2 while what is behind it moves by 1
        assert (view.frame[8:16, 19:26] == 200).all()
        assert (view.frame[:, :18][view.observed[:, :18]] == 50).all()


def test_coming_closer_magnifies_without_cracks():
    ramp = np.arange(WIDTH) * 6
    frame = np.broadcast_to(ramp[None, :, None], FRAME.shape).astype(np.uint8)
    view = forward_warp(frame, flat(4.0), CAMERA, Trajectory(translate=(0, 0, 2.4)).pose(0))
    assert view.observed.all()
    centre = (WIDTH - 1) / 2
    expected = (centre + (np.arange(WIDTH) - centre) * 0.4) * 6
    assert np.abs(view.frame[..., 0] - expected).max() <= 0.51


def test_a_slanted_surface_seen_from_the_side_has_holes_only_beyond_its_ends():
    """x' = x - f t / z is one-to-one here, so all between the images of the first and last column is seen."""
    columns = np.arange(WIDTH)
    depth = np.broadcast_to(2 + 0.05 * columns, (HEIGHT, WIDTH))
    view = forward_warp(FRAME, depth, CAMERA, Trajectory(translate=(0.4, 0, 0)).pose(0))
    ends = columns[[0, -1]] - 32 * 0.4 / depth[0, [0, -1]]
    inside = (columns > ends[0]) & (columns < ends[1])
    assert view.observed[:, inside].all()
    assert not view.observed[:, columns > ends[1] + 1].any()


def test_turning_the_camera_moves_the_picture_by_the_tangent():
    angle = math.degrees(math.atan(8 / 32))
    frame = np.zeros_like(FRAME)
    frame[:, 27:29] = 255  # 8 pixels right of the axis
    for depth in (1.0, 50.0):
        view = forward_warp(frame, flat(depth), CAMERA, Trajectory(yaw=angle).pose(0))
        middle = view.frame[HEIGHT // 2, :, 0].astype(float)
        assert (middle[view.observed[HEIGHT // 2]] > 0).any()
        bright = np.where(view.observed[HEIGHT // 2], middle, 0)
        assert abs((bright * np.arange(WIDTH)).sum() / bright.sum() - (WIDTH - 1) / 2) < 0.1


def test_an_orbit_keeps_its_pivot_in_the_middle_and_goes_left_for_yaw_and_down_for_pitch():
    point = np.array([0.0, 0.0, 5.0])
    for yaw, pitch in ((20, 0), (0, 20), (-15, 30)):
        pose = Trajectory(yaw=yaw, pitch=pitch, orbit=5.0).pose(0)
        assert np.allclose(pose.view(point), point)
    assert Trajectory(yaw=20, orbit=5.0).pose(0).position[0] < 0
    assert Trajectory(pitch=20, orbit=5.0).pose(0).position[1] > 0


def test_a_trajectory_starts_at_the_camera_that_filmed_and_stays_where_it_arrives():
    path = Trajectory(yaw=10, translate=(2, 0, 0), frames=4)
    assert np.allclose(path.pose(0).rotation, np.eye(3)) and not path.pose(0).position.any()
    assert path.pose(2).position[0] == pytest.approx(1)
    assert np.allclose(path.pose(4).rotation, path.pose(9).rotation)


def test_places_without_depth_and_behind_the_camera_are_holes():
    depth = flat(4.0)
    depth[0, 0], depth[1, 1], depth[2, 2], depth[3, 3] = np.nan, np.inf, 0, -1
    view = forward_warp(FRAME, depth, CAMERA, Trajectory().pose(0))
    assert np.argwhere(~view.observed).tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    behind = forward_warp(FRAME, flat(4.0), CAMERA, Trajectory(translate=(0, 0, 5)).pose(0))
    assert not behind.observed.any() and (behind.frame == HOLE).all()


def test_colours_are_not_mixed_across_an_edge_of_depth():
    frame, depth = np.full_like(FRAME, 20), flat(8.0)
    frame[:, 15:25], depth[:, 15:25] = 220, 3.0
    view = forward_warp(frame, depth, CAMERA, Trajectory(translate=(0.3, 0.1, 0.2)).pose(0))
    assert set(np.unique(view.frame[view.observed])) == {20, 220}


def test_a_backward_warp_reads_where_it_is_told_and_has_holes_outside():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    positions = np.stack([columns + 3, rows - 2], axis=-1)
    positions[10, 10] = np.nan
    view = backward_warp(FRAME, positions)
    observed = (columns + 3 < WIDTH) & (rows >= 2)
    observed[10, 10] = False
    assert np.array_equal(view.observed, observed)
    assert np.array_equal(view.frame[2:9, :-3], FRAME[0:7, 3:])


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: Trajectory(yaw=90), "camera.yaw=90"),
        (lambda: Trajectory(orbit=0), "camera.orbit=0"),
        (lambda: Trajectory(frames=-1), "camera.frames=-1"),
        (lambda: Pinhole(4, 4, 0), "camera.focal=0"),
        (lambda: Pinhole.with_field_of_view(4, 4, 180), "camera.fov=180"),
    ],
)
def test_impossible_cameras_are_refused_by_name(make, said):
    with pytest.raises(UserError, match=said):
        make()


def test_a_turned_camera_leaves_no_crack_between_pixels_of_different_depths():
    """Turning about itself, a camera uncovers nothing, whatever the depths are."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    checkers = np.where((rows + columns) % 2, 1.0, 3.0)
    pose = Trajectory(yaw=25, pitch=10).pose(0)
    smooth = forward_warp(FRAME, flat(2.0), CAMERA, pose).observed
    assert 0.3 < smooth.mean() < 0.7
    rough = forward_warp(FRAME, checkers, CAMERA, pose).observed
    assert (rough == smooth).mean() > 0.98
    # cracks, not the border, are what is asked for
    assert rough[:, :20][smooth[:, :20]].all()
