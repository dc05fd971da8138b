"""Build description of nnunet_ext; the tools' settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="nnunet-ext",
    version="0.1.0",
    description="Trainers, label-weighted ensembles, post-processing and submissions for nnU-Net v2",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["nnunet_ext", "nnunet_ext.*"]),
    package_data={"nnunet_ext": ["py.typed", "trainers/discovery/*.py", "report/templates/*"]},
    python_requires=">=3.10",
    install_requires=[
        "nnunetv2>=2.8,<3",
        "numpy>=1.24",
        "scipy",
        "SimpleITK>=2.2",
        "nibabel>=5",
        "isal>=1.6.1",
        "blosc2>=3.3.2",
        "connected-components-3d>=3.12",
        "fill-voids>=2.0",
        "surface-distance>=0.1",
        "PyYAML>=6",
        "pydantic>=2.6",
        "timm>=1.0.12",
        "rich>=13",
        "psutil>=5.9",
        "matplotlib>=3.7",
        "jinja2>=3.1",
        "packaging>=21",
    ],
    extras_require={
        "tensorboard": ["tensorboard>=2.13"],
        "monitor": ["nvidia-ml-py>=12"],
        "dask": ["distributed>=2023.5"],
        "tests": [
            "pytest>=8",
            "pytest-cov>=5",
            "hypothesis>=6.100",
            "ruff>=0.6",
            "mypy>=1.11",
            "import-linter>=2.17",
            "types-PyYAML",
            "types-psutil",
            "build",
            "tree-sitter>=0.23",
            "tree-sitter-powershell",
            "monai>=1.3",
            "tensorboard>=2.13",
            "playwright>=1.40",
            "distributed>=2023.5",
        ],
    },
    entry_points={"console_scripts": ["nnunet_ext=nnunet_ext.cli.main:main"]},
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
