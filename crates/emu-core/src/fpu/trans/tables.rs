//! Constants of the transcendental instructions, as fixed-point numbers with 126 fraction bits unless told otherwise.
//! The tests below derive each table again from its definition.

/// The ln 2 of F2XM1: 66 bits, in units of 2^-66.
pub(crate) const LN2_66: u128 = 0x0002_c5c8_5fdf_473d_e6af;
/// The 1/ln 2 of FYL2XP1 for small arguments: 67 bits, rounded, in units of 2^-66.
pub(crate) const LOG2_E_67: u128 = 0x0005_c551_d94a_e0bf_85de;
/// ln 2 with 128 fraction bits.
#[cfg(test)]
pub(crate) const LN2_Q128: u128 = 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af;
/// log2(e), the 1/ln 2 of FYL2X.
pub(crate) const LOG2_E: u128 = 0x5c55_1d94_ae0b_f85d_df43_ff68_348e_9f44;
/// pi with 125 fraction bits.
pub(crate) const PI_Q125: u128 = 0x6487_ed51_10b4_611a_6263_3145_c06e_0e69;
/// The pi of argument reduction: 66 bits, in units of 2^-64 [SDM-1 8.3.8].
pub(crate) const PI_66: u128 = 0x3_243f_6a88_85a3_08d3;
/// log2(k/16) for k = 12..=24.
pub(crate) const LOG2_SIXTEENTHS: [i128; 13] = [
    -0x1a8f_f971_810a_5e18_17fd_3b7d_7e5d_148c,
    -0x132b_fee3_70ee_6865_a249_78de_359f_2bb8,
    -0x0c54_4c05_5fde_9933_354d_bf16_fb06_95ee,
    -0x05f5_8125_b3ee_d319_ced1_447e_30ad_393f,
    0x0000_0000_0000_0000_0000_0000_0000_0000,
    0x0598_fdbe_b244_c59f_3314_e098_5115_d6b1,
    0x0ae0_0d1c_fdeb_43cf_d005_8905_0345_d6e9,
    0x0fde_0b5c_8134_0511_d46c_cc53_c277_9af9,
    0x149a_784b_cd1b_8afe_492b_f6ff_4daf_db4d,
    0x191b_ba89_1f17_08b4_b2b5_056b_869c_5586,
    0x1d67_53e0_32ea_0efe_3ebe_1990_5555_35b0,
    0x2182_0a01_ac75_4cb1_04ae_a536_c4bb_c2aa,
    0x2570_068e_7ef5_a1e7_e802_c482_81a2_eb74,
];
/// atan(k/16) for k = 0..=16.
pub(crate) const ATAN_SIXTEENTHS: [u128; 17] = [
    0x0000_0000_0000_0000_0000_0000_0000_0000,
    0x03fe_ab76_e59f_bd38_db2c_9e4b_7038_b835,
    0x07f5_6ea6_ab0b_db71_9644_bcc4_f9f4_4478,
    0x0bdc_bda5_e72d_8113_47b0_b4f8_81c9_c748,
    0x0fad_bafc_9640_6eb1_56dc_79ef_5f7a_217e,
    0x1362_7737_07eb_cbcd_38b5_7693_1a4f_5e65,
    0x16f6_1941_e4de_f08e_7154_6424_5b9f_c890,
    0x1a64_eec3_cc23_fcb6_c84f_92bd_2003_ce27,
    0x1dac_6705_61bb_4f68_adfc_88bd_9787_51a0,
    0x20ca_fd29_b661_9f8a_92da_8272_d869_4570,
    0x23c0_1757_bdfd_67e6_d720_d785_9971_0dd2,
    0x268b_e039_9c6f_7688_1089_be38_8813_fcef,
    0x292f_1f46_4d3d_c249_066a_1fca_915f_6b28,
    0x2bab_130e_2d36_3020_051c_978b_cf94_81c3,
    0x2e01_4f8a_f08c_679c_f2cb_6954_8429_110f,
    0x3033_a16e_2b14_9990_2277_58b1_1ba4_be89,
    0x3243_f6a8_885a_308d_3131_98a2_e037_0734,
];

#[cfg(test)]
mod tests {
    use super::super::wide::{ONE, mul_high};
    use super::*;

    /// atan(1/n) with 126 fraction bits, from its series.
    fn atan_reciprocal(n: u128) -> u128 {
        let (mut power, mut sum, mut k) = (ONE / n, ONE / n, 1);
        while power != 0 {
            power /= n * n;
            k += 2;
            sum = if k % 4 == 3 { sum - power / k } else { sum + power / k };
        }
        sum
    }

    /// ln((n+1)/n) with 126 fraction bits, from its series.
    fn ln_step(n: u128) -> u128 {
        let d = 2 * n + 1;
        let (mut power, mut sum, mut k) = (ONE / d, ONE / d, 1);
        while power != 0 {
            power /= d * d;
            k += 2;
            sum += power / k;
        }
        sum * 2
    }

    #[test]
    fn pi_is_machins() {
        let quarter = 4 * atan_reciprocal(5) - atan_reciprocal(239);
        assert!(PI_Q125.abs_diff(quarter * 2) < 256);
        assert_eq!(PI_66, PI_Q125 >> 61);
    }

    #[test]
    fn atans_grow_by_the_addition_theorem() {
        // atan((k+1)/16) - atan(k/16) = atan(16 / (256 + k(k+1)))
        for k in 0..16usize {
            let den = 256 + (k * (k + 1)) as u128;
            let scaled = |v: u128| v / den * 16;
            let (mut power, mut sum, mut n) = (scaled(ONE), scaled(ONE), 1);
            while power != 0 {
                power = scaled(scaled(power));
                n += 2;
                sum = if n % 4 == 3 { sum - power / n } else { sum + power / n };
            }
            let step = ATAN_SIXTEENTHS[k + 1] - ATAN_SIXTEENTHS[k];
            assert!(step.abs_diff(sum) < 1024, "{k}");
        }
    }

    #[test]
    fn logarithms_grow_by_their_steps() {
        let ln2 = LN2_Q128 >> 2;
        let steps: u128 = (8..16).map(ln_step).sum();
        assert!(ln2.abs_diff(steps) < 256);
        for k in 12..24usize {
            let step = (LOG2_SIXTEENTHS[k - 11] - LOG2_SIXTEENTHS[k - 12]) as u128;
            let ln = mul_high(step, LN2_Q128);
            assert!(ln.abs_diff(ln_step(k as u128)) < 256, "{k}");
        }
        assert_eq!(LN2_66, LN2_Q128 >> 62);
        assert_eq!(LOG2_E_67, (LOG2_E + (1 << 59)) >> 60);
        // log2(e) × ln 2 = 1
        assert!(mul_high(LOG2_E, LN2_Q128).abs_diff(ONE) < 4);
    }
}
