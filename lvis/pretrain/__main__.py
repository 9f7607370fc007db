from lvis.pretrain.command import main

if __name__ == "__main__":
    main()
