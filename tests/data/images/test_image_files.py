"""Tests of `mm_tf.data.images.decoding` and `mm_tf.data.images.image_files`."""

import os
import pickle
import threading
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from made_up_images import BROKEN, pixels, png, save, save_broken
from PIL import Image

from mm_tf.data import ImageFileError, ImageFiles
from mm_tf.data.images import decoding
from mm_tf.data.images.decoding import decode, quiet
from mm_tf.data.images.image_files import take


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Files of several formats and sizes."""
    folder = tmp_path_factory.mktemp("images")
    endings = ("png", "jpg", "webp", "bmp", "gif")
    return [
        save(folder / f"{i}.{endings[i % 5]}", seed=i, width=20 + 3 * i, height=30 - i)
        for i in range(17)
    ]


@pytest.mark.parametrize("ending", ["png", "bmp", "webp"])
def test_files_come_back_as_they_were(tmp_path, ending):
    options = {"lossless": True} if ending == "webp" else {}
    path = save(tmp_path / f"name.{ending}", seed=3, **options)
    # An image of that size already is not resampled, and its name does not count.
    path = path.rename(tmp_path / "name.jpg")
    assert (decode(path) == pixels(3)).all()
    assert (decode(path, (10, 12)) == pixels(3)).all()


def test_any_size_fits(tmp_path):
    for width, height in ((1, 1), (1, 300), (300, 1), (300, 200), (32, 32)):
        path = save(tmp_path / "name.png", width=width, height=height)
        assert decode(path, (32, 32)).shape == (32, 32, 3)
        assert decode(path, (5, 9), channels=1).shape == (5, 9, 1)


@pytest.mark.parametrize("wide", [True, False])
def test_the_centre_of_the_longer_side_is_kept(tmp_path, wide):
    # Red, green and blue squares side by side: the green one stays.
    image = np.zeros((30, 90, 3), np.uint8)
    for color in range(3):
        image[:, 30 * color : 30 * (color + 1), color] = 255
    image = image if wide else image.transpose(1, 0, 2)
    Image.fromarray(image).save(tmp_path / "name.png")
    middle = decode(tmp_path / "name.png", (10, 10))
    # Resizing looks a little beyond the edges.
    assert (middle[2:-2, 2:-2] == (0, 255, 0)).all()


# An image of one colour, saved as PNG or JPEG, and the colour that comes back.
ORANGE = Image.new("RGB", (8, 8), (200, 100, 50))
GREY = Image.fromarray(np.full((8, 8), 124 * 257, np.uint16))
MODES = {
    "RGB": (ORANGE, {}, (200, 100, 50)),
    "L": (ORANGE.convert("L"), {}, (124, 124, 124)),
    "1": (Image.new("1", (8, 8), 1), {}, (255, 255, 255)),
    "P": (ORANGE.quantize(4), {}, (200, 100, 50)),
    "LA": (ORANGE.convert("LA"), {}, (124, 124, 124)),
    "RGBA": (ORANGE.convert("RGBA"), {}, (200, 100, 50)),
    "I;16": (GREY, {}, (124, 124, 124)),
    "CMYK": (ORANGE.convert("CMYK"), {"format": "JPEG"}, (200, 100, 50)),
    "JPEG": (ORANGE, {"format": "JPEG"}, (200, 100, 50)),
    "GIF": (ORANGE, {"format": "GIF"}, (200, 100, 50)),
    "L in JPEG": (ORANGE.convert("L"), {"format": "JPEG"}, (124, 124, 124)),
    "transparent RGBA": (Image.new("RGBA", (8, 8)), {}, (255, 255, 255)),
    "transparent LA": (Image.new("LA", (8, 8)), {}, (255, 255, 255)),
    "transparent P": (Image.new("P", (8, 8)), {"transparency": 0}, (255, 255, 255)),
    "transparent RGB": (ORANGE, {"transparency": (200, 100, 50)}, (255, 255, 255)),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes(tmp_path, mode):
    image, options, expected = MODES[mode]
    image.save(tmp_path / "name.png", **options)
    found = decode(tmp_path / "name.png").astype(int)
    assert np.abs(found - expected).max() <= (2 if "format" in options else 0)


def test_sixteen_bits_of_color_lose_their_lower_eight(tmp_path):
    row = b"\x00" + np.array([0xC8FF, 0x6400, 0x32AA], ">u2").tobytes()
    (tmp_path / "deep.png").write_bytes(png(1, 1, data=row, bit_depth=16))
    assert decode(tmp_path / "deep.png").tolist() == [[[0xC8, 0x64, 0x32]]]


@pytest.mark.parametrize(
    "color_type, bit_depth, row, color, expected",
    [
        (0, 2, b"\x60", [1], [[255] * 3, [170] * 3]),
        (0, 4, b"\x3a", [3], [[255] * 3, [170] * 3]),
        (0, 16, b"\x03\xe8\x9c\x40", [1000], [[255] * 3, [0x9C] * 3]),
        (2, 16, b"\x01\x02" * 3 + b"\x9c\x40" * 3, [258] * 3, [[255] * 3, [0x9C] * 3]),
    ],
)
def test_a_transparent_color_of_any_bit_depth_is_white(
    color_type, bit_depth, row, color, expected
):
    content = png(2, 1, color_type, b"\0" + row, bit_depth, transparent=color)
    assert decode("name.png", content=content).tolist() == [expected]


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path, ending, orientation):
    upright = Image.new("RGB", (64, 32), "black")
    upright.paste("white", (0, 0, 16, 16))
    # How Pillow numbers what undoes orientations 2 to 8.
    turn = (None, None, 0, 3, 1, 5, 2, 6, 4)[orientation]
    stored = upright if turn is None else upright.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"name.{ending}", exif=exif)
    decoded = decode(tmp_path / f"name.{ending}").astype(int)
    assert decoded.shape == (32, 64, 3)
    assert np.abs(decoded - np.asarray(upright).astype(int)).mean() < 4


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_the_first_frame_of_an_animation(tmp_path, ending):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "lime")]
    options = {"lossless": True} if ending == "webp" else {}
    path = tmp_path / f"name.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    assert (decode(path) == (255, 0, 0)).all()


def test_large_jpegs_are_decoded_at_a_part_of_their_size(tmp_path):
    smooth = Image.linear_gradient("L").resize((1200, 900)).convert("RGB")
    smooth.save(tmp_path / "name.jpg", quality=95)
    smooth.save(tmp_path / "name.png")
    fast = decode(tmp_path / "name.jpg", (32, 32)).astype(int)
    whole = decode(tmp_path / "name.png", (32, 32)).astype(int)
    assert np.abs(fast - whole).max() <= 3


def test_what_is_no_file_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    no_file = "not a regular file"
    reasons = {"missing.png": "No such file", "pipe.png": no_file, ".": no_file}
    for name, reason in reasons.items():
        with pytest.raises(ImageFileError, match=reason):
            decode(tmp_path / name)


@pytest.mark.parametrize("memory_limit", [0, 2**20])
@pytest.mark.parametrize("num_threads", [1, 2, 7])
def test_files_are_read_like_an_array(paths, num_threads, memory_limit):
    images = ImageFiles(paths, 16, 3, memory_limit, num_threads)
    everything = np.stack([decode(path, (16, 16)) for path in paths])
    assert (images.shape, images.dtype, images.ndim) == ((17, 16, 16, 3), np.uint8, 4)
    assert (len(images), images.nbytes) == (17, everything.nbytes)
    assert images.paths == tuple(map(str, paths))
    drawn = np.random.default_rng(0).integers(0, 17, 40)
    mask, none = np.arange(17) % 2 == 0, np.array([], int)
    for index in (3, -1, np.int64(5), slice(2, 9), [4, 4, 0], mask, none, drawn, drawn):
        assert (images[index] == everything[index]).all()
        assert images[index].shape == everything[index].shape
        assert images[index].dtype == np.uint8
    assert (np.stack(list(images)) == everything).all()
    for index in ((0, 0), [[0, 1]], 17, -18, [17], None, "a"):
        with pytest.raises(IndexError):
            images[index]


def test_threads_wait_where_images_are_large(paths, monkeypatch):
    expected = ImageFiles(paths, 16)[:]
    lock, running, most = threading.Lock(), [], []
    real = decoding._in_mode

    def slow(image, mode):
        with lock:
            running.append(image.width * image.height)
            most.append((sum(running), len(running)))
        time.sleep(0.01)
        with lock:
            running.remove(image.width * image.height)
        return real(image, mode)

    monkeypatch.setattr(decoding, "_in_mode", slow)
    # Images of 600 to 1,008 pixels: three fit, or none.
    for size, at_once in ((2000, 3), (500, 1)):
        monkeypatch.setattr(decoding, "PIXELS_AT_ONCE", size)
        assert (ImageFiles(paths, 16, num_threads=8)[:] == expected).all()
        assert max(number for _, number in most) <= at_once
        assert max(total for total, _ in most) <= max(size, 1008)
        most.clear()


def test_one_set_of_images_can_be_read_by_several_threads(paths):
    images = ImageFiles(paths, 16, num_threads=2)
    expected = np.stack([decode(path, (16, 16)) for path in paths])
    orders = [np.random.default_rng(number).permutation(17) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(images.__getitem__, orders))
    assert (np.stack(found) == expected[np.stack(orders)]).all()


def test_cached_images_are_decoded_once_and_digests_found_once(tmp_path):
    copies = [save(tmp_path / f"{i}.png", seed=i % 2) for i in range(3)]
    cached, decoded = ImageFiles(copies, 8), ImageFiles(copies, 8, memory_limit=500)
    before, digests = np.asarray(cached), decoded.digests()
    assert digests[0] == digests[2] != digests[1]
    assert (decoded[:] == before).all()
    for path in copies:
        path.unlink()
    assert (cached[:] == before).all()
    assert decoded.subset([1, 0]).digests() == [digests[1], digests[0]]
    assert cached.digests() == [str(path) for path in copies]
    with pytest.raises(ImageFileError, match="0.png$"):
        decoded[:]
    with pytest.raises(ValueError, match="memory_limit=500 .* 3 images of 576 bytes"):
        np.asarray(decoded)


@pytest.mark.parametrize("memory_limit", [0, 5 * 768, 2**20])
def test_a_subset_is_the_same_images(paths, memory_limit):
    images = ImageFiles(paths, 16, memory_limit=memory_limit)
    part = images.subset([9, 2, 2, 16])
    assert part.paths == tuple(str(paths[i]) for i in (9, 2, 2, 16))
    assert (part[:] == images[[9, 2, 2, 16]]).all()
    assert (pickle.loads(pickle.dumps(part))[:] == part[:]).all()
    assert (part.subset(slice(1, 3))[:] == images[[2, 2]]).all()
    assert (take(images, [1])[:] == take(images[:], [1])).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("memory_limit", [0, 2**20])
def test_broken_files_are_found_and_named(paths, tmp_path, memory_limit):
    broken = save_broken(tmp_path)
    # Broken EXIF does not lose the image.
    exif = [tmp_path / "exif.jpg", tmp_path / "more.jpg"]
    for path, content in zip(exif, (b"MM\0*\0\0\xff\xff", b"rubbish"), strict=True):
        Image.new("RGB", (16, 8), "red").save(path, exif=b"Exif\0\0" + content)
    images = ImageFiles([*paths, *broken, *exif], 16, memory_limit=memory_limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        errors = images.check()
    assert list(errors) == list(range(17, 17 + len(broken)))
    for path, error in zip(broken, errors.values(), strict=True):
        assert isinstance(error, ImageFileError) and error.path == str(path)
        assert str(error).endswith(f"Received: {path}") and "\n" not in str(error)
        assert BROKEN.get(path.name, (b"", ""))[1] in error.reason
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    good = images.subset([i for i in range(len(images)) if i not in errors])
    assert len(good[:]) == 19
    for place in range(17, 17 + len(broken)):
        with quiet(), pytest.raises(ImageFileError):
            images[[16, place]]


def test_subsets_share_one_memory_limit(paths, monkeypatch):
    bytes_per_image = 16 * 16 * 3
    decoded = []
    monkeypatch.setattr(
        "mm_tf.data.images.image_files.decode",
        lambda *given: decoded.append(given[0]) or decode(*given),
    )

    def times_decoded(images):
        """How often the second reading decodes."""
        images[:]
        decoded.clear()
        images[:]
        return len(decoded)

    # Each fits, both together do not.
    whole = ImageFiles(paths, 16, memory_limit=12 * bytes_per_image)
    train, test = whole.subset(slice(0, 10)), whole.subset(slice(10, 17))
    assert [times_decoded(part) for part in (train, test)] == [0, 7]
    small = whole.subset(slice(10, 12))
    assert times_decoded(small) == 0
    # Memory of a subset that is gone is free again; a pickle has a limit of its own.
    del train
    again = pickle.loads(pickle.dumps(whole.subset(slice(7, 17))))
    assert times_decoded(again) == 0
    assert times_decoded(test) == 7
    assert times_decoded(whole.subset(slice(7, 17))) == 0


def test_memory_stays_bounded(tmp_path):
    # 200 images of 192 KB, of which a batch of 10 is 2 MB.
    path = save(tmp_path / "name.png", width=8, height=8)
    images = ImageFiles([path] * 200, 256, memory_limit=0, num_threads=2)
    images[0:2]  # What Pillow allocates once.
    tracemalloc.start()
    for first in range(0, 200, 10):
        assert len(images[range(first, first + 10)]) == 10
    images.check()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 10 * 256 * 256 * 3
