//! The target description: which registers there are, as XML for gdb [GDB, "Target Descriptions"].

use std::fmt::Write;

use crate::registers::{Register, Width};

/// Bits of EFLAGS and of MXCSR by name.
const EFLAGS: [(&str, u32); 17] = [
    ("CF", 0),
    ("", 1),
    ("PF", 2),
    ("AF", 4),
    ("ZF", 6),
    ("SF", 7),
    ("TF", 8),
    ("IF", 9),
    ("DF", 10),
    ("OF", 11),
    ("NT", 14),
    ("RF", 16),
    ("VM", 17),
    ("AC", 18),
    ("VIF", 19),
    ("VIP", 20),
    ("ID", 21),
];
const MXCSR: [(&str, u32); 14] = [
    ("IE", 0),
    ("DE", 1),
    ("ZE", 2),
    ("OE", 3),
    ("UE", 4),
    ("PE", 5),
    ("DAZ", 6),
    ("IM", 7),
    ("DM", 8),
    ("ZM", 9),
    ("OM", 10),
    ("UM", 11),
    ("PM", 12),
    ("FZ", 15),
];
/// The views of a vector register: field, type of an element, how many.
const VECTORS: [(&str, &str, u32); 6] = [
    ("v4_float", "ieee_single", 4),
    ("v2_double", "ieee_double", 2),
    ("v16_int8", "int8", 16),
    ("v8_int16", "int16", 8),
    ("v4_int32", "int32", 4),
    ("v2_int64", "int64", 2),
];

/// The whole description.
pub(super) fn target_xml(width: Width, registers: &[Register]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n");
    let _ = write!(xml, "<target version=\"1.0\">\n<architecture>{}</architecture>\n", width.architecture());
    if width == Width::I8086 {
        // No system of gdb's has 16-bit code; it warns if it has to find that out.
        xml.push_str("<osabi>none</osabi>\n");
    }
    let mut feature = "";
    for r in registers {
        if r.feature != feature {
            if !feature.is_empty() {
                xml.push_str("</feature>\n");
            }
            feature = r.feature;
            let _ = writeln!(xml, "<feature name=\"{feature}\">");
            types(&mut xml, feature);
        }
        let _ = writeln!(xml, "<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"/>", r.name, r.bits, r.kind);
    }
    xml.push_str("</feature>\n</target>\n");
    xml
}

/// Types that a feature's registers have.
fn types(xml: &mut String, feature: &str) {
    if feature.ends_with(".core") {
        flags(xml, "i386_eflags", &EFLAGS);
    }
    if feature.ends_with(".sse") {
        for (field, element, count) in VECTORS {
            let _ = writeln!(xml, "<vector id=\"{field}\" type=\"{element}\" count=\"{count}\"/>");
        }
        xml.push_str("<union id=\"vec128\">");
        for (field, ..) in VECTORS {
            let _ = write!(xml, "<field name=\"{field}\" type=\"{field}\"/>");
        }
        xml.push_str("<field name=\"uint128\" type=\"uint128\"/></union>\n");
        flags(xml, "i386_mxcsr", &MXCSR);
    }
}

fn flags(xml: &mut String, id: &str, bits: &[(&str, u32)]) {
    let _ = write!(xml, "<flags id=\"{id}\" size=\"4\">");
    for (name, bit) in bits {
        let _ = write!(xml, "<field name=\"{name}\" start=\"{bit}\" end=\"{bit}\"/>");
    }
    xml.push_str("</flags>\n");
}
