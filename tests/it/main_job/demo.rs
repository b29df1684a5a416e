use std::path::Path;

use tests::Imagemill;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_well_and_leaves_pictures_that_open() {
    let folder = tempfile::tempdir().unwrap();
    let imagemill = Imagemill::with_settings_for_real_work(folder.path()).unwrap();
    let output = imagemill.run(&["demo", "--dir", "out"]).await.unwrap().expect_code(0);
    assert!(output.stdout.contains("11 tasks created"), "{}", output.stdout);

    let mut pictures = Vec::new();
    collect(&folder.path().join("out"), &mut pictures);
    assert!(pictures.len() >= 12, "{pictures:?}");
    for picture in &pictures {
        let file = std::io::BufReader::new(std::fs::File::open(picture).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap_or_else(|error| panic!("{}: {error}", picture.display()));
    }
}

fn collect(folder: &Path, pictures: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, pictures);
        } else if path.extension().is_some_and(|extension| extension == "png") {
            pictures.push(path);
        }
    }
}
