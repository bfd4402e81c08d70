//! What builds cost as the nation grows, drawn.

use std::path::Path;

use plotters::prelude::{
    ChartBuilder, Circle, Color, IntoDrawingArea, IntoLogRange, LineSeries, Palette, Palette99,
    PathElement, SVGBackend, SeriesLabelPosition, WHITE,
};

/// Of the palette, one for each kind of build; its third is a yellow that white swallows.
const COLOURS: [usize; 3] = [0, 1, 3];

/// A nation's size with the seconds that each kind of build took.
pub(crate) struct Cost {
    pub(crate) scale: f64,
    pub(crate) seconds: Vec<(&'static str, f64)>,
}

/// Draws both axes in powers of ten: what grows as the nation does is a line that rises one step in one step.
pub(crate) fn draw(costs: &[Cost], file: &Path) {
    let ends = |values: &[f64]| {
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        let most = values.iter().copied().fold(f64::MIN, f64::max);
        (least / 1.5)..(most * 1.5)
    };
    let scales: Vec<f64> = costs.iter().map(|it| it.scale).collect();
    let all = costs.iter().flat_map(|it| &it.seconds).map(|it| it.1);
    let all: Vec<f64> = all.collect();
    let area = SVGBackend::new(file, (720, 420)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .caption("What a build costs as the nation grows", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(ends(&scales).log_scale(), ends(&all).log_scale())
        .unwrap();
    chart
        .configure_mesh()
        .x_desc("times 3.8 million participations and 7 million spells")
        .y_desc("seconds")
        .draw()
        .unwrap();
    let Some(first) = costs.first() else { return };
    for (at, (what, _)) in first.seconds.iter().enumerate() {
        let colour = Palette99::pick(COLOURS[at]).to_rgba();
        let points: Vec<(f64, f64)> = costs
            .iter()
            .map(|it| (it.scale, it.seconds[at].1))
            .collect();
        let line = LineSeries::new(points.clone(), colour.stroke_width(2));
        chart
            .draw_series(line)
            .unwrap()
            .label(*what)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        let dots = points.into_iter();
        chart
            .draw_series(dots.map(|it| Circle::new(it, 3, colour.filled())))
            .unwrap();
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .draw()
        .unwrap();
    area.present().unwrap();
}
