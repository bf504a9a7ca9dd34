//! Little of what vectors can do, and random numbers.

/// Three numbers. In 2D the third is 0.
pub type Vector = [f32; 3];

/// Both together.
#[must_use]
pub fn add(a: Vector, b: Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// The way from the second to the first.
#[must_use]
pub fn sub(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// So many times as long.
#[must_use]
pub fn scaled(a: Vector, factor: f32) -> Vector {
    a.map(|axis| axis * factor)
}

/// The square of the length.
#[must_use]
pub fn square(a: Vector) -> f32 {
    a[0] * a[0] + a[1] * a[1] + a[2] * a[2]
}

/// The length.
#[must_use]
pub fn length(a: Vector) -> f32 {
    libm::sqrtf(square(a))
}

/// In this direction, one unit long; 0 stays 0.
#[must_use]
pub fn unit(a: Vector) -> Vector {
    let length = length(a);
    if length > 0.0 { scaled(a, 1.0 / length) } else { a }
}

/// Where who goes so looks, in degrees from the first axis to the second.
#[must_use]
pub fn heading(direction: Vector) -> f32 {
    libm::atan2f(direction[1], direction[0]).to_degrees()
}

/// The next of a sequence of random numbers (splitmix64; Steele, Lea and Flood, 2014).
pub fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A random number from 0 to less than 1, from 24 bits.
pub fn random_share(state: &mut u64) -> f32 {
    (random(state) >> 40) as f32 / 16_777_216.0
}

/// A random direction, one unit long: on the circle, in 3D on the sphere.
pub fn random_direction(state: &mut u64, dims: u8) -> Vector {
    let turn = random_share(state) * core::f32::consts::TAU;
    let up = if dims == 2 { 0.0 } else { 2.0 * random_share(state) - 1.0 };
    let (sine, cosine) = libm::sincosf(turn);
    let flat = libm::sqrtf(1.0 - up * up);
    [cosine * flat, sine * flat, up]
}

/// A random place in a circle, in 3D in a ball: every part of it is as likely as another.
pub fn random_place(state: &mut u64, home: Vector, radius: f32, dims: u8) -> Vector {
    let share = random_share(state);
    let share = if dims == 2 { libm::sqrtf(share) } else { libm::cbrtf(share) };
    add(home, scaled(random_direction(state, dims), radius * share))
}
