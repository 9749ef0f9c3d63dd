"""The kinds of data sources: IDX files, array files, folders of images, torchvision's sets."""
