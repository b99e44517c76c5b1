"""The same networks as PyTorch modules, written here a second time, with the names that checkpoints have."""

import numpy as np
import pytest
from made_networks import random_arrays, run_onnx

from app.tools.importing.architectures import (
    dsfd_on_resnet,
    iresnet_with,
    mobilefacenet_of_insightface,
    retinaface_on_resnet,
)
from app.tools.importing.onnx_writer import write_onnx
from app.tools.importing.references import largest_difference, torch_outputs
from app.tools.importing.weights import Weights

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
nn = torch.nn


class IdentityBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.prelu = nn.PReLU(outputs)
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        inner = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(inner)) + (self.downsample(x) if hasattr(self, "downsample") else x)


class IResNet(nn.Module):
    def __init__(self, depths, dimensions):
        super().__init__()
        self.conv1, self.bn1, self.prelu = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)
        inputs = 64
        for stage, depth in enumerate(depths):
            blocks = []
            for number in range(depth):
                blocks.append(IdentityBlock(inputs, 64 << stage, 1 if number else 2))
                inputs = 64 << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.bn2, self.fc = nn.BatchNorm2d(512), nn.Linear(512 * 49, dimensions)
        self.features = nn.BatchNorm1d(dimensions)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return {"embedding": self.features(self.fc(self.bn2(x).flatten(1)))}


class Layers(nn.Module):
    """What InsightFace's MobileFaceNet wraps everything into."""

    def __init__(self, *layers, shortcut=False):
        super().__init__()
        self.layers, self.shortcut = nn.Sequential(*layers), shortcut

    def forward(self, x):
        return self.layers(x) + x if self.shortcut else self.layers(x)


def block(inputs, outputs, kernel=1, stride=1, groups=1, act=True):
    parts = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)]
    parts += [nn.BatchNorm2d(outputs), *([nn.PReLU(outputs)] if act else [])]
    return Layers(*parts)


def narrow(inputs, outputs, inner, stride=2, shortcut=False):
    middle = block(inner, inner, 3, stride, inner)
    return Layers(block(inputs, inner), middle, block(inner, outputs, act=False), shortcut=shortcut)


def repeated(count, planes, inner):
    return Layers(*(narrow(planes, planes, inner, 1, True) for _ in range(count)))


class InsightFaceMobileFaceNet(nn.Module):
    def __init__(self, counts, width, dimensions):
        super().__init__()
        second = block(width, width, 3, groups=64) if counts[0] == 1 else repeated(counts[0], width, 128)
        self.layers = nn.ModuleList([block(3, width, 3, 2), second])
        self.layers.extend([narrow(width, width, 128), repeated(counts[1], width, 128)])
        self.layers.extend([narrow(width, 2 * width, 256), repeated(counts[2], 2 * width, 256)])
        self.layers.extend([narrow(2 * width, 2 * width, 512), repeated(counts[3], 2 * width, 256)])
        self.conv_sep = block(2 * width, 512)
        whole = Layers(nn.Conv2d(512, 512, 7, groups=512, bias=False), nn.BatchNorm2d(512))
        last = (nn.Linear(512, dimensions, bias=False), nn.BatchNorm1d(dimensions))
        self.features = Layers(whole, nn.Flatten(), *last)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return {"embedding": self.features(self.conv_sep(x))}


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        if inputs != 4 * width:
            convolution = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(4 * width))

    def forward(self, x):
        inner = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return (self.bn3(self.conv3(inner)) + (self.downsample(x) if hasattr(self, "downsample") else x)).relu()


class ResNetBody(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for stage, depth in enumerate((3, 4, 6, 3)):
            blocks = []
            for number in range(depth):
                blocks.append(Bottleneck(inputs, 64 << stage, 2 if stage and not number else 1))
                inputs = 256 << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x):
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        fine = self.layer2(self.layer1(x))
        middle = self.layer3(fine)
        return fine, middle, self.layer4(middle)


def unit(inputs, outputs, kernel, act=True):
    parts = [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([nn.ReLU()] if act else []))


class Fpn(nn.Module):
    def __init__(self):
        super().__init__()
        self.output1, self.output2, self.output3 = (unit(planes, 256, 1) for planes in (512, 1024, 2048))
        self.merge1, self.merge2 = unit(256, 256, 3), unit(256, 256, 3)

    def forward(self, maps):
        fine, middle, coarse = self.output1(maps[0]), self.output2(maps[1]), self.output3(maps[2])
        middle = self.merge2(middle + nn.functional.interpolate(coarse, size=middle.shape[2:], mode="nearest"))
        fine = self.merge1(fine + nn.functional.interpolate(middle, size=fine.shape[2:], mode="nearest"))
        return fine, middle, coarse


class Ssh(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv3X3 = unit(256, 128, 3, act=False)  # the names are the checkpoints'
        self.conv5X5_1, self.conv5X5_2 = unit(256, 64, 3), unit(64, 64, 3, act=False)
        self.conv7X7_2, self.conv7x7_3 = unit(64, 64, 3), unit(64, 64, 3, act=False)

    def forward(self, x):
        shared = self.conv5X5_1(x)
        parts = [self.conv3X3(x), self.conv5X5_2(shared), self.conv7x7_3(self.conv7X7_2(shared))]
        return torch.cat(parts, 1).relu()


class Head(nn.Module):
    def __init__(self, values):
        super().__init__()
        self.conv1x1, self.values = nn.Conv2d(256, 2 * values, 1), values

    def forward(self, x):
        return self.conv1x1(x).permute(0, 2, 3, 1).reshape(len(x), -1, self.values)


class RetinaFaceR50(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.fpn = ResNetBody(), Fpn()
        self.ssh1, self.ssh2, self.ssh3 = Ssh(), Ssh(), Ssh()
        self.ClassHead, self.BboxHead, self.LandmarkHead = (
            nn.ModuleList(Head(values) for _ in range(3)) for values in (2, 4, 10)
        )

    def forward(self, x):
        levels = self.fpn(self.body(x))
        levels = [self.ssh1(levels[0]), self.ssh2(levels[1]), self.ssh3(levels[2])]

        def joined(heads):
            return torch.cat([head(level) for head, level in zip(heads, levels)], 1)

        scores = joined(self.ClassHead).softmax(-1)
        return {"loc": joined(self.BboxHead), "conf": scores, "landms": joined(self.LandmarkHead)}


class Deep(nn.Module):
    """DSFD's head."""

    def __init__(self, width, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(8 * width, 4 * width, 3, padding=1)
        self.conv2, self.conv3 = (nn.Conv2d(4 * width, 4 * width, 3, padding=1) for _ in range(2))
        self.conv4 = nn.Conv2d(4 * width, outputs, 1)

    def forward(self, x):
        return self.conv4(self.conv3(self.conv2(self.conv1(x).relu()).relu()).relu())


class Enhancement(nn.Module):
    def __init__(self, planes, width):
        super().__init__()
        many, few = 4 * width, 2 * width
        self.cpm1 = nn.Conv2d(planes, many, 3, padding=1)
        self.cpm2 = nn.Conv2d(planes, many, 3, padding=2, dilation=2)
        self.cpm3 = nn.Conv2d(many, few, 3, padding=1)
        self.cpm4 = nn.Conv2d(many, few, 3, padding=2, dilation=2)
        self.cpm5 = nn.Conv2d(few, few, 3, padding=1)

    def forward(self, x):
        wide = self.cpm2(x).relu()
        wider = self.cpm4(wide).relu()
        return torch.cat([self.cpm1(x).relu(), self.cpm3(wide).relu(), self.cpm5(wider).relu()], 1)


class DualShot(nn.Module):
    """DSFD as it is trained: both shots in every head, of which the second is read."""

    def __init__(self, depths, width):
        super().__init__()
        inputs, stages = width, []
        for stage, depth in enumerate(depths):
            blocks = []
            for number in range(depth):
                blocks.append(Bottleneck(inputs, width << stage, 2 if stage and not number else 1))
                inputs = 4 * (width << stage)
            stages.append(nn.Sequential(*blocks))
        stem = (nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.layer1 = nn.Sequential(*stem, stages[0])
        self.layer2, self.layer3, self.layer4 = (nn.Sequential(stage) for stage in stages[1:])
        self.layer5, self.layer6 = self.coarser(inputs, 8, 8, width), self.coarser(8 * width, 2, 4, width)
        planes = [4 * width, 8 * width, 16 * width, 32 * width, 8 * width, 4 * width]
        for number in (1, 2, 3):
            setattr(self, f"latlayer{number}", nn.Conv2d(planes[number], planes[number - 1], 1))
            setattr(self, f"smooth{number}", nn.Conv2d(planes[number - 1], planes[number - 1], 1))
        self.cpm3_3, self.cpm4_3, self.cpm5_3 = (Enhancement(count, width) for count in planes[:3])
        self.cpm7, self.cpm6_2, self.cpm7_2 = (Enhancement(count, width) for count in planes[3:])
        self.loc = nn.ModuleList(Deep(width, outputs) for outputs in (4, 8, 12, 12, 12, 12))
        self.conf = nn.ModuleList(Deep(width, outputs) for outputs in (4, 6, 8, 8, 8, 8))

    @staticmethod
    def coarser(inputs, inner, outputs, width):
        first = (nn.Conv2d(inputs, inner * width, 1), nn.BatchNorm2d(inner * width), nn.ReLU())
        second = (nn.Conv2d(inner * width, outputs * width, 3, 2, 1), nn.BatchNorm2d(outputs * width), nn.ReLU())
        return nn.Sequential(*first, *second)

    def forward(self, x):
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4, self.layer5, self.layer6):
            x = layer(x)
            maps.append(x)
        for level in (2, 1, 0):
            lateral = getattr(self, f"latlayer{level + 1}")(maps[level + 1])
            enlarged = nn.functional.interpolate(lateral, maps[level].shape[2:], mode="bilinear", align_corners=True)
            maps[level] = getattr(self, f"smooth{level + 1}")(maps[level]) * enlarged
        modules = (self.cpm3_3, self.cpm4_3, self.cpm5_3, self.cpm7, self.cpm6_2, self.cpm7_2)
        found = {}
        for number, (module, level) in enumerate(zip(modules, maps)):
            seen = module(level)
            scores = self.conf[number](seen)
            best, single = scores[:, :3].max(1).values, scores[:, 3]
            pair = (best, single) if number == 0 else (single, best)
            places = self.loc[number](seen)[:, :4].flatten(2).transpose(1, 2)
            found[f"loc_{4 << number}"] = places
            found[f"conf_{4 << number}"] = torch.stack(pair, 1).flatten(2).transpose(1, 2).softmax(-1)
        return found


CASES = {
    "DSFD": (lambda: DualShot((2, 1, 3, 1), 8), dsfd_on_resnet((2, 1, 3, 1), 8)),
    "IResNet": (lambda: IResNet((2, 1, 2, 1), 32), iresnet_with((2, 1, 2, 1), 32)),
    "MobileFaceNet of InsightFace": (
        lambda: InsightFaceMobileFaceNet((1, 2, 1, 1), 128, 64),
        mobilefacenet_of_insightface(64, (1, 2, 1, 1), 128),
    ),
    "the large one": (
        lambda: InsightFaceMobileFaceNet((2, 1, 2, 1), 256, 64),
        mobilefacenet_of_insightface(64, (2, 1, 2, 1), 256),
    ),
    "RetinaFace on ResNet-50": (RetinaFaceR50, retinaface_on_resnet()),
}


@pytest.mark.parametrize("case", CASES)
def test_a_network_written_in_pytorch_answers_like_ours(case):
    make, architecture = CASES[case]
    network = make().eval()
    arrays = random_arrays(architecture)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    missing, surplus = network.load_state_dict(state, strict=False)
    assert not surplus and all(name.endswith("num_batches_tracked") for name in missing)
    width, height = architecture.crop or (96, 64)
    images = np.random.default_rng(2).uniform(-1, 1, (2, 3, height, width)).astype(np.float32)
    with torch.no_grad():
        expected = {name: values.numpy() for name, values in network(torch.from_numpy(images)).items()}
    model = write_onnx(architecture, Weights(arrays)).SerializeToString()
    assert largest_difference(expected, run_onnx(model, images)) < 2e-5
    assert largest_difference(expected, torch_outputs(architecture, Weights(arrays), images)) < 2e-5
